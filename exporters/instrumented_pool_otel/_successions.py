"""Pools that had one name after another: to OpenTelemetry, whose counters must never fall, they are one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, TypeAlias, TypeVar
from weakref import ReferenceType, ref

from instrumented_pool import ConnectionPool, Distribution, PoolStats
from instrumented_pool.metrics import Attributes
from instrumented_pool.roster import PoolRoster

_Pool: TypeAlias = ConnectionPool[Any]
_Label = TypeVar("_Label", bound=str)

Series: TypeAlias = frozenset[tuple[str, object]]
"""What pools are one by: the attributes of their points."""


@dataclass(slots=True)
class _Succession:
    """The pools of one series.

    Attributes:
        pool: the present one.
        latest: what it said when it was last read.
        before: what those before it have counted.
    """

    pool: ReferenceType[_Pool]
    latest: PoolStats | None = None
    before: PoolStats | None = None

    def total(self) -> PoolStats | None:
        if self.latest is None or self.before is None:
            return self.latest or self.before
        return _counted_on(self.before, self.latest)

    def read(self, pool: _Pool) -> PoolStats:
        self.latest = pool.stats()
        return self.latest if self.before is None else _counted_on(self.before, self.latest)


class Successions(PoolRoster):
    """Pools, whose counters and distributions go on where those of their predecessors ended.

    No pool comes while they are read: its predecessor and it would be told in the wrong order.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Series, _Succession] = {}
        self._reading = Lock()

    def add(self, pool: _Pool, attributes: Attributes) -> Attributes:
        """As in `PoolRoster`. A predecessor has counted what it says now, or said last, if it is gone."""
        with self._reading:
            attributes = super().add(pool, attributes)
            known = self._known.setdefault(series_of(attributes), _Succession(ref(pool)))
            if (last := known.pool()) is not pool:
                if last is not None:
                    known.read(last)
                known.pool, known.latest, known.before = ref(pool), None, known.total()
            return attributes

    def stats(self) -> list[tuple[Attributes, PoolStats]]:
        """Read every pool once."""
        with self._reading:
            return [(attributes, self._known[series_of(attributes)].read(pool)) for pool, attributes in self]

    def latest(self) -> dict[Series, PoolStats]:
        """What was read last, also of pools that are gone."""
        with self._reading:
            return {series: total for series, known in self._known.items() if (total := known.total()) is not None}


def series_of(attributes: Attributes) -> Series:
    """The series that pools with these attributes have in common."""
    return frozenset(attributes.items())


def _counted_on(before: PoolStats, now: PoolStats) -> PoolStats:
    return replace(
        now,
        acquires=before.acquires + now.acquires,
        acquired=_merged(before.acquired, now.acquired),
        failed=_merged(before.failed, now.failed),
        created=before.created + now.created,
        create_errors=before.create_errors + now.create_errors,
        closed=_merged(before.closed, now.closed),
        close_errors=before.close_errors + now.close_errors,
        bursts=before.bursts + now.bursts,
        leaks_suspected=before.leaks_suspected + now.leaks_suspected,
        observer_errors=before.observer_errors + now.observer_errors,
        observer_seconds=_merged(before.observer_seconds, now.observer_seconds),
        wait=_joined(before.wait, now.wait),
        use=_joined(before.use, now.use),
        create=_joined(before.create, now.create),
    )


def _merged(before: Mapping[_Label, float], now: Mapping[_Label, float]) -> dict[_Label, Any]:
    return {label: before.get(label, 0) + now.get(label, 0) for label in {**before, **now}}


def _joined(before: Distribution | None, now: Distribution | None) -> Distribution | None:
    if before is None or now is None:
        return before or now
    counts = tuple(map(sum, zip(before.counts, now.counts, strict=True)))
    return Distribution(now.bounds, counts, before.sum + now.sum)
