"""The one table of what Datadog is sent.

Names of the first kind begin with the service, as the ancestor's did: `orders.pool.waiting`. Names of the second kind
are fixed, and are those of `instrumented_pool.metrics`, so that one dashboard serves every service; what tells their
points apart is in tags: those of `pool_tags()`, and those of `tags()`.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from instrumented_pool import PoolStats
from instrumented_pool.metrics import COUNTS

ACQUIRE_SPAN = "pool.acquire_connection"
CREATE_SPAN = "pool._create_new_connection"
WAIT_SPAN = "pool._wait_for_connection"

POOL_TAG = "instrumented_pool.name"
SOURCE_TAG = "instrumented_pool.source"
REASON_TAG = "instrumented_pool.reason"

GETTING_CONNECTION = "pool.getting_connection"
"""Counter of callers, tagged `method:new`, `method:wait` or `method:available`."""


def acquiring(stats: PoolStats) -> int:
    """Callers that are inside `get_connection()` and have no connection yet."""
    return stats.acquires - sum(stats.acquired.values()) - sum(stats.failed.values())


CONNECTIONS_ACQUIRING = "pool.connections_acquiring"

GAUGES: dict[str, Callable[[PoolStats], int]] = {
    "pool.total_connections": lambda stats: stats.total,
    "pool.available_connections": lambda stats: stats.idle,
    "pool.waiting": lambda stats: stats.waiting,
    "pool.connections_used": lambda stats: stats.in_use,
    CONNECTIONS_ACQUIRING: acquiring,
}
"""In the order in which they are sent."""


POOL_KEY, SERVICE_KEY = "pool", "service"


def pool_tags(service: str, pool: str, target: Mapping[str, str]) -> list[str]:
    """The tags that every metric of a fixed name has; `target` is what the pool connects to."""
    return [f"{POOL_KEY}:{pool}", f"{SERVICE_KEY}:{service}", *(f"{key}:{value}" for key, value in target.items())]


def aggregation_key(service: str, pool: str) -> str:
    """What Datadog groups the events of one pool by; it takes 100 characters, and the client escapes none of them."""
    return re.sub(r"[|\s]", "_", f"{service}.pool:{pool}")[:100]


def key(label: str) -> str:
    """The key of a label's tag: its last word, such as `state`."""
    return label.rpartition(".")[2]


def tags(labels: Sequence[str], values: Sequence[str]) -> list[str]:
    """The tags that tell a metric's points apart, such as `state:idle`."""
    return [f"{key(label)}:{value}" for label, value in zip(labels, values, strict=True) if value]


TAGS = {POOL_KEY, SERVICE_KEY, *(key(label) for count in COUNTS for label in count.labels)}
"""The keys of the tags that tell our points apart, by which nothing else may be told."""


def burst_started(service: str, max_size: int, burst_limit: int) -> tuple[str, str, str]:
    """Title, text and alert type of the event that a burst has begun."""
    text = f"Pool max size of {max_size} will be exceeded temporarily, up to {burst_limit}"
    return f"{service} pool using burst capacity", text, "warning"


def burst_limit_reached(service: str) -> tuple[str, str, str]:
    """Title, text and alert type of the event that a burst has met its limit."""
    return f"{service} pool reached burst limit", "There are not enough connections to satisfy all users", "error"


def burst_ended(service: str, max_size: int) -> tuple[str, str, str]:
    """Title, text and alert type of the event that a burst is over."""
    text = f"Number of connections has dropped below {max_size}"
    return f"{service} pool no longer bursting", text, "success"
