"""The metrics of a pool: one table of names, units and meanings for every exporter, dashboard and page that uses them.

`db.client.connection.*` are the connection pool metrics of OpenTelemetry's semantic conventions, version 1.44, word for
word; `instrumented_pool.*` is what the conventions have no name for. Everything is read from `PoolStats`, so a value
here and the count it stands for cannot drift apart.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from ._events import CloseReason, FailReason, Source
from ._stats import Distribution, PoolStats
from .redaction import redact

__all__ = [
    "ACQUIRE_OUTCOME",
    "ACQUIRE_SOURCE",
    "CLOSE_REASON",
    "COUNTS",
    "CREATE_OUTCOME",
    "DURATIONS",
    "OBSERVER",
    "POOL_NAME",
    "STATE",
    "AttributeValue",
    "Attributes",
    "Count",
    "Duration",
    "check_attributes",
]

POOL_NAME = "db.client.connection.pool.name"
STATE = "db.client.connection.state"
ACQUIRE_OUTCOME = "instrumented_pool.acquire.outcome"
ACQUIRE_SOURCE = "instrumented_pool.acquire.source"
CREATE_OUTCOME = "instrumented_pool.create.outcome"
CLOSE_REASON = "instrumented_pool.close.reason"
OBSERVER = "instrumented_pool.observer"

AttributeValue: TypeAlias = str | bool | int | float
Attributes: TypeAlias = Mapping[str, AttributeValue]
Point: TypeAlias = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Count:
    """A number that is read from the pool.

    Attributes:
        name: in OpenTelemetry's spelling.
        kind: `counter` only ever rises; an `updowncounter` may be added up over pools and processes, a `gauge` may not.
        unit: in UCUM; words in braces are annotations and no part of the unit.
        description: what it counts, in a sentence.
        labels: keys of the attributes that tell its points apart, besides the pool's own.
        read: gives each point's values of `labels`, empty where one does not apply, and its value.
    """

    name: str
    kind: Literal["counter", "updowncounter", "gauge"]
    unit: str
    description: str
    labels: tuple[str, ...]
    read: Callable[[PoolStats], Iterable[Point]]


@dataclass(frozen=True, slots=True)
class Duration:
    """A histogram of seconds in the buckets of `instrumented_pool.BOUNDS`.

    Attributes:
        name, unit, description: as in `Count`.
        read: gives the distribution, or None while the pool keeps none.
    """

    name: str
    unit: str
    description: str
    read: Callable[[PoolStats], Distribution | None]


def _one(read: Callable[[PoolStats], float]) -> Callable[[PoolStats], Iterable[Point]]:
    return lambda stats: (((), read(stats)),)


def _states(stats: PoolStats) -> Iterable[Point]:
    return (("idle",), stats.idle), (("used",), stats.in_use)


def _acquires(stats: PoolStats) -> Iterable[Point]:
    for source in get_args(Source):
        yield ("acquired", source), stats.acquired.get(source, 0)
    for reason in get_args(FailReason):
        yield (reason, ""), stats.failed.get(reason, 0)


def _creates(stats: PoolStats) -> Iterable[Point]:
    return (("created",), stats.created), (("failed",), stats.create_errors)


def _closes(stats: PoolStats) -> Iterable[Point]:
    return (((reason,), stats.closed.get(reason, 0)) for reason in get_args(CloseReason))


COUNTS = (
    Count(
        "db.client.connection.count",
        "updowncounter",
        "{connection}",
        "The number of connections that are currently in state described by the `state` attribute.",
        (STATE,),
        _states,
    ),
    Count(
        "db.client.connection.idle.max",
        "updowncounter",
        "{connection}",
        "The maximum number of idle open connections allowed.",
        (),
        _one(lambda stats: stats.max_size),
    ),
    Count(
        "db.client.connection.idle.min",
        "updowncounter",
        "{connection}",
        "The minimum number of idle open connections allowed.",
        (),
        _one(lambda stats: stats.min_size),
    ),
    Count(
        "db.client.connection.max",
        "updowncounter",
        "{connection}",
        "The maximum number of open connections allowed.",
        (),
        _one(lambda stats: stats.limit),
    ),
    Count(
        "db.client.connection.pending_requests",
        "updowncounter",
        "{request}",
        "The number of current pending requests for an open connection.",
        (),
        _one(lambda stats: stats.waiting),
    ),
    Count(
        "db.client.connection.timeouts",
        "counter",
        "{timeout}",
        "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
        (),
        _one(lambda stats: stats.failed.get("timeout", 0)),
    ),
    Count(
        "instrumented_pool.connection.creating",
        "updowncounter",
        "{connection}",
        "The number of connections that are being made.",
        (),
        _one(lambda stats: stats.creating),
    ),
    Count(
        "instrumented_pool.connection.closing",
        "updowncounter",
        "{connection}",
        "The number of connections that are being closed.",
        (),
        _one(lambda stats: stats.closing),
    ),
    Count(
        "instrumented_pool.bursting",
        "updowncounter",
        "{pool}",
        "1 while the pool has more connections than its soft limit, else 0.",
        (),
        _one(lambda stats: int(stats.bursting)),
    ),
    Count(
        "instrumented_pool.bursts",
        "counter",
        "{burst}",
        "The number of times the pool rose above its soft limit.",
        (),
        _one(lambda stats: stats.bursts),
    ),
    Count(
        "instrumented_pool.acquires",
        "counter",
        "{acquire}",
        "The number of acquires that ended, by outcome and by where the connection came from.",
        (ACQUIRE_OUTCOME, ACQUIRE_SOURCE),
        _acquires,
    ),
    Count(
        "instrumented_pool.creates",
        "counter",
        "{connection}",
        "The number of attempts to make a connection that ended, by outcome.",
        (CREATE_OUTCOME,),
        _creates,
    ),
    Count(
        "instrumented_pool.closes",
        "counter",
        "{connection}",
        "The number of connections that left the pool, by reason.",
        (CLOSE_REASON,),
        _closes,
    ),
    Count(
        "instrumented_pool.close_errors",
        "counter",
        "{error}",
        "The number of closes that failed or took too long.",
        (),
        _one(lambda stats: stats.close_errors),
    ),
    Count(
        "instrumented_pool.leaks_suspected",
        "counter",
        "{leak}",
        "The number of times a connection was held for longer than leak_after.",
        (),
        _one(lambda stats: stats.leaks_suspected),
    ),
    Count(
        "instrumented_pool.observer_errors",
        "counter",
        "{error}",
        "The number of times an observer raised.",
        (),
        _one(lambda stats: stats.observer_errors),
    ),
    Count(
        "instrumented_pool.observer_time",
        "counter",
        "s",
        "The time observers spent in their hooks, estimated from a sample.",
        (OBSERVER,),
        lambda stats: (((name,), seconds) for name, seconds in stats.observer_seconds.items()),
    ),
    Count(
        "instrumented_pool.oldest_hold",
        "gauge",
        "s",
        "How long the connection that has been held the longest has been held.",
        (),
        _one(lambda stats: stats.oldest_hold),
    ),
)

DURATIONS = (
    Duration(
        "db.client.connection.create_time",
        "s",
        "The time it took to create a new connection.",
        lambda stats: stats.create,
    ),
    Duration(
        "db.client.connection.wait_time",
        "s",
        "The time it took to obtain an open connection from the pool.",
        lambda stats: stats.wait,
    ),
    Duration(
        "db.client.connection.use_time",
        "s",
        "The time between borrowing a connection and returning it to the pool.",
        lambda stats: stats.use,
    ),
)

_TYPES: Mapping[str, type] = MappingProxyType(
    {"server.address": str, "server.port": int, "db.system.name": str, "db.namespace": str}
)


def check_attributes(attributes: Attributes | None) -> dict[str, AttributeValue]:
    """Return a copy of the attributes that a user wants on everything an exporter reports.

    Any key will do; the conventions' own are `server.address`, `server.port`, `db.system.name` and `db.namespace`.

    Raises:
        TypeError: it is no mapping, or a key or a value is of a type that cannot be reported.
        ValueError: a key is empty or belongs to the pool, or a value holds credentials.
    """
    if attributes is None:
        return {}
    _check_mapping(attributes)
    for key, value in attributes.items():
        _check_key(key)
        _check_value(key, value)
    return dict(attributes)


def _check_mapping(attributes: object) -> None:
    if not isinstance(attributes, Mapping):
        kind = type(attributes).__name__
        raise TypeError(f"attributes must be a mapping of str to str, bool, int or float, got {kind}")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise TypeError(f"attributes must have str keys, got {key!r}")
    if not key:
        raise ValueError("attributes must not have an empty key")
    if key in (POOL_NAME, STATE) or key.startswith("instrumented_pool."):
        raise ValueError(f"attributes must not have the key {key!r}: the pool gives it its value")


def _check_value(key: str, value: object) -> None:
    expected: tuple[type, ...] = (_TYPES[key],) if key in _TYPES else (str, bool, int, float)
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        names = " or ".join(each.__name__ for each in expected)
        raise TypeError(f"attributes[{key!r}] must be {names}, got {type(value).__name__}")
    if isinstance(value, str) and redact(value) != value:
        raise ValueError(f"attributes[{key!r}] holds credentials, {redact(value)!r} once they are hidden")
