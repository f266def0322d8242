"""`DatadogObserver`: one watch per pool, and events passed on to it."""

from collections.abc import Iterable
from math import isfinite
from typing import Any, TypeAlias, TypeVar, final
from weakref import WeakKeyDictionary

from instrumented_pool import ConnectionPool, Event, Observer, PoolClosed
from instrumented_pool.metrics import POOL_NAME
from instrumented_pool.roster import PoolRoster

from . import _names as names
from ._client import Client, Outlet
from ._spans import Spans
from ._vendor import DogStatsd, Tracer, statsd, tracer
from ._watch import PerAcquireWatch, PeriodicWatch, Watch

_Kind = TypeVar("_Kind")

_statsd, _tracer = statsd, tracer

_Reported: TypeAlias = tuple[str, frozenset[str]]

_rosters: WeakKeyDictionary[DogStatsd, dict[_Reported, PoolRoster]] = WeakKeyDictionary()
"""By where they are sent to, as which service and with which tags: to Datadog, observers that share these are one."""


@final
class DatadogObserver(Observer):
    """Sends a pool's life to Datadog: metrics and events through DogStatsD, spans through ddtrace.

    By default an idle acquire sends nothing. Gauges, counts and distributions are sent every `report_every` seconds,
    once under names that begin with the service and once under fixed names with a `pool:` and a `service:` tag; spans
    are made where a caller had to wait, for a connection of its own or for one that came back; bursts are events.

    A report is packed into a few datagrams. An agent that does not take them, or a client that raises, is logged once,
    to `instrumented_pool`, and once more when all is well again; the pool does not notice. No credentials, stacks or
    connections are sent: of an error, its type and a redacted line.

    Args:
        service_name: the service of the spans, and the beginning of the names.
        extra_tags: on every metric and event.
        report_every: seconds between two reports of a pool.
        per_acquire: send what `asyncio-connection-pool` did, and just that: every gauge at every acquire and release
            and a span for every acquire.
        statsd: the DogStatsD client, by default the one that `datadog.initialize()` configures. It stays yours: it is
            flushed as a pool closes, and never closed.
        tracer: the tracer, by default ddtrace's.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range; the message names it and its value.
    """

    def __init__(
        self,
        service_name: str,
        *,
        extra_tags: Iterable[str] = (),
        report_every: float = 10.0,
        per_acquire: bool = False,
        statsd: DogStatsd | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._service = _check_service(service_name)
        self._tags = _check_tags(extra_tags)
        self._every = _check_every(report_every)
        self._outlet = Outlet(_check_kind("statsd", DogStatsd, statsd, default=_statsd))
        self._tracer = _check_kind("tracer", Tracer, tracer, default=_tracer)
        reported = self._service, frozenset(self._tags)
        self._roster = _rosters.setdefault(self._outlet.statsd, {}).setdefault(reported, PoolRoster())
        self._watches: WeakKeyDictionary[ConnectionPool[Any], Watch] = WeakKeyDictionary()
        self._watch: type[Watch] = PerAcquireWatch if per_acquire else PeriodicWatch
        self.waits_only = self._watch.waits_only
        for hook in dir(self._watch):
            if hook.startswith("on_"):  # on the instance, so that the pool subscribes it to these and to no other
                setattr(self, hook, self._pass_on)

    def attached(self, pool: ConnectionPool[Any]) -> None:
        """Report `pool` from now on.

        Raises:
            ValueError: an attribute of its strategy would be a tag that metrics have already, or another observer sends
                it to the same client as the same service with the same tags, so everything would be counted twice.
        """
        if taken := pool.attributes.keys() & names.TAGS:
            raise ValueError(f"the strategy's attributes must not have the keys {sorted(taken)}: they are our tags")
        name = str(self._roster.add(pool, {})[POOL_NAME])
        target = {key: str(value) for key, value in pool.attributes.items()}
        spans = Spans(self._tracer, self._service, {**target, names.POOL_TAG: name})
        tags = [] if self._watch is PerAcquireWatch else names.pool_tags(self._service, name, target)
        client = Client(self._outlet, [*self._tags, *tags], names.aggregation_key(self._service, name))
        self._watches[pool] = self._watch(pool, self._service, client, spans, self._every)

    def detached(self, pool: ConnectionPool[Any]) -> None:
        """Report `pool` for the last time."""
        self._roster.remove(pool)
        self._watches.pop(pool).stop(pool.stats())

    def _pass_on(self, event: Event) -> None:
        watch = self._watches.get(event.pool)
        if watch is not None:  # it may have been removed by a hook before this one
            getattr(watch, event.name)(event)
        if isinstance(event, PoolClosed):
            self._roster.retire(event.pool)


def _check_service(service_name: object) -> str:
    if not isinstance(service_name, str):
        raise TypeError(f"service_name must be a string, got {service_name!r}")
    if not service_name:
        raise ValueError("service_name must not be empty: it begins every name")
    if set(service_name) & set(":|\r\n"):
        raise ValueError(
            f"service_name must hold no ':', no '|' and no line break, where names end; got {service_name!r}"
        )
    return service_name


def _check_tags(extra_tags: Iterable[object]) -> list[str]:
    if isinstance(extra_tags, str):
        raise TypeError(f"extra_tags must be a list of strings, got the string {extra_tags!r}")
    tags: list[str] = []
    for tag in extra_tags:
        if not isinstance(tag, str):
            raise TypeError(f"extra_tags must be a list of strings, got {tag!r} among them")
        tags.append(tag)
    return tags


def _check_kind(name: str, kind: type[_Kind], given: _Kind | None, *, default: _Kind) -> _Kind:
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got a {type(given).__name__}")
    return default if given is None else given


def _check_every(report_every: object) -> float:
    if not isinstance(report_every, int | float) or isinstance(report_every, bool):
        raise TypeError(f"report_every must be a number of seconds, got {report_every!r}")
    if not (isfinite(report_every) and report_every > 0):
        raise ValueError(f"report_every must be more than 0 seconds and finite, got {report_every!r}")
    return float(report_every)
