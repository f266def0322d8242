"""The traces that a scrape leads to."""

import re
from bisect import bisect_left
from collections.abc import Mapping
from time import time
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from prometheus_client.samples import Exemplar

from instrumented_pool import BOUNDS, Acquired, AcquireFailed, ConnectionPool, Created, Event, Released
from instrumented_pool.metrics import DURATIONS
from instrumented_pool.trace_ids import TraceIds, current_ids

Latest: TypeAlias = Mapping[tuple[str, int], Exemplar]
"""By the name of the metric in the table and the number of the bucket; of a count, 0."""

TIMEOUTS = "db.client.connection.timeouts"
CREATE_TIME, WAIT_TIME, USE_TIME = (duration.name for duration in DURATIONS)

_Kept: TypeAlias = tuple[float, Exemplar]  # with the time of its event

_FRESH = 1.0  # seconds in which nobody scrapes twice
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MOST = 128  # characters of all names and values of an exemplar, by OpenMetrics


class Exemplars:
    """The latest exemplar of each bucket and of the time-outs, by pool.

    The latest, not the slowest: buckets tell slow from fast already, and the slowest of yesterday's leads to a trace
    that is kept no longer. A fresh one is not renewed, so that a queue which moves fast does not ask for every caller.
    """

    def __init__(self, trace_ids: TraceIds) -> None:
        self._trace_ids = trace_ids
        self._latest: WeakKeyDictionary[ConnectionPool[Any], dict[tuple[str, int], _Kept]] = WeakKeyDictionary()

    def of(self, pool: ConnectionPool[Any]) -> Latest:
        """What is kept of `pool`. May be called from any thread."""
        kept = self._latest.get(pool, {}).copy()  # whole, before looking: meanwhile the pool may add to it
        return {key: exemplar for key, (_, exemplar) in kept.items()}

    def on_acquired(self, event: Acquired) -> None:
        self._keep(event, WAIT_TIME, event.wait)

    def on_released(self, event: Released) -> None:
        self._keep(event, USE_TIME, event.use)

    def on_created(self, event: Created) -> None:
        self._keep(event, CREATE_TIME, event.duration)

    def on_acquire_failed(self, event: AcquireFailed) -> None:
        if event.reason == "timeout":
            self._keep(event, TIMEOUTS)

    def _keep(self, event: Event, metric: str, seconds: float | None = None) -> None:
        key = (metric, 0 if seconds is None else bisect_left(BOUNDS, seconds))
        kept = self._latest.setdefault(event.pool, {})
        if (last := kept.get(key)) is not None and event.at - last[0] < _FRESH:
            return
        labels = _checked(current_ids(self._trace_ids))
        if labels:
            kept[key] = event.at, Exemplar(labels, 1 if seconds is None else seconds, time())


def _checked(labels: dict[str, str]) -> dict[str, str]:
    """Refuse what would make Prometheus drop the whole scrape."""
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or not value.isprintable():
            raise ValueError(f"the trace id {name!r} is no label of Prometheus, or its value is not printable")
    size = sum(len(name) + len(value) for name, value in labels.items())
    if size > _MOST:
        raise ValueError(f"an exemplar may have {_MOST} characters in its names and values, the trace ids have {size}")
    return labels
