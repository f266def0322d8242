"""The spans and their attributes, and the scope that everything is reported under.

The metrics, which Prometheus shares, have their table in `instrumented_pool.metrics`. The reference page is made from
both, by `make reference`.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

from instrumented_pool.metrics import ACQUIRE_OUTCOME, ACQUIRE_SOURCE, CREATE_OUTCOME, POOL_NAME

SCOPE = "instrumented_pool"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

ACQUIRE_SPAN = "pool.acquire"
WAIT_SPAN = "pool.wait"
CREATE_SPAN = "pool.create"

ERROR_TYPE = "error.type"
ACQUIRE_ID = "instrumented_pool.acquire.id"
ACQUIRE_WAIT = "instrumented_pool.acquire.wait_time"
ACQUIRE_WAITING = "instrumented_pool.acquire.waiting"
CONNECTION_ID = "instrumented_pool.connection.id"
CREATE_BURST = "instrumented_pool.create.burst"
HOLD_TIME = "instrumented_pool.hold_time"

SPANS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        ACQUIRE_SPAN: ("a caller asks", "it has its connection, or gives up", "the caller's span"),
        WAIT_SPAN: ("it queues for a connection to come back", "the same", "`pool.acquire`"),
        CREATE_SPAN: ("a connection is being made", "it is made, or failed", "the `pool.acquire` that it is made for"),
    }
)
"""Of each span: when it begins, when it ends, and its parent."""

ATTRIBUTES: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        POOL_NAME: (
            (ACQUIRE_SPAN, WAIT_SPAN, CREATE_SPAN),
            "as on the metrics, and so are those given as `attributes`",
        ),
        ACQUIRE_ID: ((ACQUIRE_SPAN, CREATE_SPAN), "numbers the acquires of the pool"),
        ACQUIRE_WAITING: ((ACQUIRE_SPAN,), "callers in the queue when this one joined, itself included"),
        ACQUIRE_WAIT: ((ACQUIRE_SPAN,), "seconds until it had its connection or gave up"),
        ACQUIRE_OUTCOME: ((ACQUIRE_SPAN, WAIT_SPAN), "as on the metrics"),
        ACQUIRE_SOURCE: ((ACQUIRE_SPAN, WAIT_SPAN), "as on the metrics"),
        CONNECTION_ID: ((ACQUIRE_SPAN, WAIT_SPAN, CREATE_SPAN), "numbers the connections of the pool"),
        HOLD_TIME: ((ACQUIRE_SPAN, WAIT_SPAN), "seconds that the caller before had held the connection"),
        CREATE_BURST: ((CREATE_SPAN,), "whether it takes the pool above `max_size`"),
        CREATE_OUTCOME: ((CREATE_SPAN,), "`created`, `failed` or `cancelled`"),
        ERROR_TYPE: (
            (ACQUIRE_SPAN, WAIT_SPAN, CREATE_SPAN),
            "why it failed: the outcome, or the type of the driver's exception",
        ),
    }
)
"""Of each attribute: the spans that may have it, and what it means."""


def _version() -> str:
    try:
        return version("instrumented-pool")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return ""


VERSION = _version()
