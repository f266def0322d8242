"""The observer that reports pools to OpenTelemetry."""

from typing import Any, Literal, TypeAlias, final, get_args
from weakref import WeakKeyDictionary

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, get_tracer

from instrumented_pool import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    Closed,
    ConnectionPool,
    Created,
    CreateFailed,
    CreateStarted,
    Observer,
    PoolClosed,
    Released,
)
from instrumented_pool.metrics import Attributes, check_attributes

from ._instruments import instruments_of
from ._names import SCHEMA_URL, SCOPE, VERSION
from ._spans import PoolSpans

SpanMode: TypeAlias = Literal["all", "waits", "off"]

_HOOKS_OF_SPANS = ("on_acquire_queued", "on_acquire_failed", "on_create_started", "on_create_failed", "on_closed")


@final
class OTelObserver(Observer):
    """Reports pools to OpenTelemetry: the semantic conventions' pool metrics, some of our own, and spans.

    One observer may watch many pools, and several observers may share a provider. Pools are held weakly. Counts are
    read from the pools when metrics are collected; durations are recorded as they end, in the context of the span they
    belong to, so that exemplars lead to it; where `instrumented_pool_otel.sdk.bridge` was called, the pools keep them.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        attributes: Attributes | None = None,
        spans: SpanMode = "waits",
    ) -> None:
        """Make an observer for the `observers` of a pool.

        Args:
            tracer_provider: what makes the spans; the global one by default, even if it is set later.
            meter_provider: what collects the metrics; the global one by default, even if it is set later.
            attributes: put on every metric and span, such as `server.address`, `server.port`, `db.system.name` and
                `db.namespace`.
            spans: `all` for every acquire, `waits` for those that queued for a connection or had one made, `off`.

        Raises:
            TypeError: a provider is none, or an attribute has a type that cannot be reported.
            ValueError: `spans` is none of the three, or `attributes` has a key of the pool's own or holds credentials.
        """
        if spans not in get_args(SpanMode):
            raise ValueError(f"spans must be 'all', 'waits' or 'off', got {spans!r}")
        _check_provider("tracer_provider", tracer_provider, "get_tracer")
        _check_provider("meter_provider", meter_provider, "get_meter")
        self._attributes = check_attributes(attributes)
        self._instruments = instruments_of(meter_provider)
        if spans != "all":
            self._instruments.enlist(self)
        self._tracer = get_tracer(SCOPE, VERSION, tracer_provider, SCHEMA_URL)
        self._pools: WeakKeyDictionary[ConnectionPool[Any], PoolSpans] = WeakKeyDictionary()
        self._spans_of_all = spans == "all"
        if spans == "off":
            for hook in _HOOKS_OF_SPANS:
                setattr(self, hook, getattr(super(), hook))  # a pool does not call a hook that is Observer's own

    def attached(self, pool: ConnectionPool[Any]) -> None:
        """Report `pool` from now on.

        Raises:
            ValueError: another observer reports it to the same meter provider, so everything would be counted twice.
        """
        attributes = self._instruments.report(pool, self._attributes)
        self._pools[pool] = PoolSpans(self._tracer, attributes, of_all=self._spans_of_all)

    def detached(self, pool: ConnectionPool[Any]) -> None:
        """Report `pool` no longer, and end its open spans."""
        self._instruments.pools.remove(pool)
        self._pools[pool].end_all()

    def on_pool_closed(self, event: PoolClosed) -> None:
        """Leave the pool's name to its successor."""
        self._instruments.retire(event.pool)

    def on_acquire_queued(self, event: AcquireQueued) -> None:
        """Begin the spans `pool.acquire` and `pool.wait`."""
        self._pools[event.pool].acquire_queued(event)

    def on_acquired(self, event: Acquired) -> None:
        """Record the wait, and end the caller's spans."""
        spans = self._pools[event.pool]
        self._instruments.wait_time.record(event.wait, spans.attributes)
        spans.acquired(event)

    def on_acquire_failed(self, event: AcquireFailed) -> None:
        """End the caller's spans, failed unless it was cancelled."""
        self._pools[event.pool].acquire_failed(event)

    def on_released(self, event: Released) -> None:
        """Record the use, and tell the caller whom it serves who held the connection."""
        spans = self._pools[event.pool]
        self._instruments.use_time.record(event.use, spans.attributes)
        spans.released(event)

    def on_create_started(self, event: CreateStarted) -> None:
        """Begin the span `pool.create`."""
        self._pools[event.pool].create_started(event)

    def on_created(self, event: Created) -> None:
        """Record the creation, and end its span."""
        spans = self._pools[event.pool]
        self._instruments.create_time.record(event.duration, spans.attributes)
        spans.created(event)

    def on_create_failed(self, event: CreateFailed) -> None:
        """End the span of the creation, failed unless it was cancelled."""
        self._pools[event.pool].create_failed(event)

    def on_closed(self, event: Closed) -> None:
        """Forget how the connection was made."""
        self._pools[event.pool].closed(event)


def _check_provider(parameter: str, provider: object, method: str) -> None:
    if provider is not None and not callable(getattr(provider, method, None)):
        raise TypeError(f"{parameter} must have a method {method}, got {type(provider).__name__}")
