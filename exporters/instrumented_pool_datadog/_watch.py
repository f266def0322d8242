"""What is sent of one pool: `PeriodicWatch` is the default, `PerAcquireWatch` sends what the ancestor did.

A watch has the hooks of an `Observer` that its mode needs, and no other; `DatadogObserver` subscribes to these.
"""

from typing import Any, ClassVar

from instrumented_pool import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    AcquireStarted,
    BurstEnded,
    BurstLimitReached,
    BurstStarted,
    Closed,
    ConnectionPool,
    Created,
    CreateFailed,
    CreateStarted,
    PoolClosed,
    PoolOpened,
    PoolStats,
    Released,
)
from instrumented_pool.metrics import COUNTS, DURATIONS

from . import _names as names
from ._client import Client
from ._durations import news
from ._spans import Spans
from ._timer import Timer


class Watch:
    """What both modes have in common: the gauges under the service's name, spans of creations, and the timer.

    Args:
        pool: watched, and held weakly.
        service: begins every name.
        client: where metrics and events go.
        spans: where spans go.
        every: seconds between two reports.

    Attributes:
        waits_only: as in `Observer`.
    """

    waits_only: ClassVar[bool]

    def __init__(self, pool: ConnectionPool[Any], service: str, client: Client, spans: Spans, every: float) -> None:
        self._service = service
        self._client = client
        self._spans = spans
        self._ending = False
        self._timer = Timer(pool, every, self.report)
        self._timer.start()

    def stop(self, stats: PoolStats) -> None:
        """Watch no longer a pool that has come to `stats`."""
        self._timer.stop()
        self._spans.end_all()

    def report(self, stats: PoolStats) -> None:
        with self._client.batch(last=self._ending):
            self._send(stats)

    def _send(self, stats: PoolStats) -> None:
        for name, read in names.GAUGES.items():
            self._client.gauge(f"{self._service}.{name}", read(stats))

    def _getting(self, method: str, times: int = 1) -> None:
        self._client.count(f"{self._service}.{names.GETTING_CONNECTION}", times, f"method:{method}")

    def _end_acquire(self, acquire_id: int, tag: str, value: str, error: BaseException | None = None) -> None:
        self._spans.end(names.WAIT_SPAN, acquire_id, error)
        self._spans.end(names.ACQUIRE_SPAN, acquire_id, error, {tag: value})

    def on_pool_opened(self, event: PoolOpened) -> None:
        self._timer.start()

    def on_pool_closed(self, event: PoolClosed) -> None:
        self._timer.stop()
        self._ending = True
        self.report(event.pool.stats())

    def on_create_started(self, event: CreateStarted) -> None:
        self._spans.start(names.CREATE_SPAN, event.connection_id)

    def on_created(self, event: Created) -> None:
        self._spans.end(names.CREATE_SPAN, event.connection_id)

    def on_create_failed(self, event: CreateFailed) -> None:
        self._spans.end(names.CREATE_SPAN, event.connection_id, event.error)


class PeriodicWatch(Watch):
    """Counts and distributions at every report, spans only of what queued: nothing is sent of an idle acquire."""

    waits_only = True

    def __init__(self, pool: ConnectionPool[Any], service: str, client: Client, spans: Spans, every: float) -> None:
        pool.keep_distributions()
        self._reported = pool.stats()
        self._queued = {"new": 0, "wait": 0}
        super().__init__(pool, service, client, spans, every)

    def stop(self, stats: PoolStats) -> None:
        super().stop(stats)
        self._ending = True
        self.report(stats)  # what was counted since the last one would be lost

    def _send(self, stats: PoolStats) -> None:
        super()._send(stats)
        before, self._reported = self._reported, stats
        self._report_methods(before, stats)
        self._report_counts(before, stats)
        self._report_durations(before, stats)

    def _report_methods(self, before: PoolStats, stats: PoolStats) -> None:
        available = stats.acquired["idle"] - before.acquired["idle"]
        for method, times in (*self._queued.items(), ("available", available)):
            if times:
                self._getting(method, times)
        self._queued = dict.fromkeys(self._queued, 0)

    def _report_counts(self, before: PoolStats, stats: PoolStats) -> None:
        for count in COUNTS:
            known = dict(count.read(before))
            for labels, value in count.read(stats):
                tags = names.tags(count.labels, labels)
                if count.kind != "counter":
                    self._client.gauge(count.name, value, *tags)
                elif (risen := value - known.get(labels, 0)) > 0:  # an observer added since was not known
                    self._client.count(count.name, risen, *tags)

    def _report_durations(self, before: PoolStats, stats: PoolStats) -> None:
        for duration in DURATIONS:
            old, new = duration.read(before), duration.read(stats)
            for seconds, times in news(old, new) if old and new else ():
                self._client.distribution(duration.name, round(seconds, 9), times)

    def _report_if_last(self, pool: ConnectionPool[Any]) -> None:
        """The timer ended with the pool; once nothing is left that could happen, say how it all ended."""
        if self._ending and not (stats := pool.stats()).total and not names.acquiring(stats):
            self.report(stats)

    def on_closed(self, event: Closed) -> None:
        self._report_if_last(event.pool)

    def on_acquire_queued(self, event: AcquireQueued) -> None:
        self._queued["new" if event.creating else "wait"] += 1
        self._spans.start(names.ACQUIRE_SPAN, event.acquire_id)
        if not event.creating:
            self._spans.start(names.WAIT_SPAN, event.acquire_id)

    def on_acquired(self, event: Acquired) -> None:
        self._end_acquire(event.acquire_id, names.SOURCE_TAG, event.source)

    def on_acquire_failed(self, event: AcquireFailed) -> None:
        self._end_acquire(event.acquire_id, names.REASON_TAG, event.reason, event.error)
        self._report_if_last(event.pool)

    def on_create_failed(self, event: CreateFailed) -> None:
        super().on_create_failed(event)
        self._report_if_last(event.pool)

    def on_burst_started(self, event: BurstStarted) -> None:
        self._client.event(*names.burst_started(self._service, event.max_size, event.burst_limit))

    def on_burst_limit_reached(self, event: BurstLimitReached) -> None:
        self._client.event(*names.burst_limit_reached(self._service))

    def on_burst_ended(self, event: BurstEnded) -> None:
        self._client.event(*names.burst_ended(self._service, event.max_size))


class PerAcquireWatch(Watch):
    """Everything at every acquire and release, in the ancestor's order and under its names only."""

    waits_only = False

    def __init__(self, pool: ConnectionPool[Any], service: str, client: Client, spans: Spans, every: float) -> None:
        self._bursting = self._limit_told = False
        super().__init__(pool, service, client, spans, every)

    def _send(self, stats: PoolStats) -> None:
        super()._send(stats)
        self._report_burst(stats)

    def _report_burst(self, stats: PoolStats) -> None:
        """The ancestor's way to notice a burst: when it reports, and as at its limit even where nobody queues."""
        if stats.bursting:
            if not self._bursting:
                self._bursting = True
                self._client.event(*names.burst_started(self._service, stats.max_size, stats.limit))
            if stats.total == stats.limit and not self._limit_told:
                self._limit_told = True
                self._client.event(*names.burst_limit_reached(self._service))
        elif self._bursting:
            self._bursting = self._limit_told = False
            self._client.event(*names.burst_ended(self._service, stats.max_size))

    def _report_acquiring(self, stats: PoolStats) -> None:
        self._client.gauge(f"{self._service}.{names.CONNECTIONS_ACQUIRING}", names.acquiring(stats))

    def on_acquire_started(self, event: AcquireStarted) -> None:
        self._report_acquiring(event.pool.stats())
        self._spans.start(names.ACQUIRE_SPAN, event.acquire_id)

    def on_acquire_queued(self, event: AcquireQueued) -> None:
        self._getting("new" if event.creating else "wait")
        if not event.creating:
            self._spans.start(names.WAIT_SPAN, event.acquire_id)

    def on_acquired(self, event: Acquired) -> None:
        if event.source == "idle":
            self._getting("available")
        self._end_acquire(event.acquire_id, names.SOURCE_TAG, event.source)
        stats = event.pool.stats()
        self._report_acquiring(stats)
        self.report(stats)

    def on_acquire_failed(self, event: AcquireFailed) -> None:
        self._end_acquire(event.acquire_id, names.REASON_TAG, event.reason, event.error)
        self._report_acquiring(event.pool.stats())

    def on_released(self, event: Released) -> None:
        stats = event.pool.stats()
        if not stats.closing:  # otherwise the report waits for the close, as the ancestor's did
            self.report(stats)

    def on_closed(self, event: Closed) -> None:
        self.report(event.pool.stats())
