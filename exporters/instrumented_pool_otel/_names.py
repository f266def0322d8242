"""The names of the spans and of their attributes, and the scope that everything is reported under.

The metrics, which Prometheus shares, have their table in `instrumented_pool.metrics`.
"""

from importlib.metadata import PackageNotFoundError, version

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


def _version() -> str:
    try:
        return version("instrumented-pool")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return ""


VERSION = _version()
