"""The instruments of a meter provider, which read the pools when they are collected."""

from collections import deque
from collections.abc import Iterable
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

from opentelemetry.metrics import (
    CallbackOptions,
    Histogram,
    Meter,
    MeterProvider,
    NoOpHistogram,
    Observation,
    get_meter_provider,
)

from instrumented_pool import BOUNDS, ConnectionPool, Observer, PoolStats
from instrumented_pool.metrics import COUNTS, DURATIONS, Attributes, Count, Duration

from ._names import SCHEMA_URL, SCOPE, VERSION
from ._successions import Successions

_KEPT_FOR = 2  # collections, for those of two readers
_MOST_KEPT = 16  # pools closed since the last collection: without an SDK, there is never another

_by_provider: "WeakKeyDictionary[MeterProvider, Instruments]" = WeakKeyDictionary()
_looking_up = Lock()


class Instruments:
    """The instruments of one meter provider and the pools that they report.

    There is one set of them per provider, shared by all observers: a meter silently drops the callbacks of a second
    observable instrument of one name.

    Attributes:
        pools: what is reported.
        create_time, wait_time, use_time: where durations are recorded.
        bridged: whether the pools keep the durations instead, and a bridge takes them to the readers.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self.pools = Successions()
        self.bridged = False
        self._content: WeakSet[Observer] = WeakSet()
        self._closed: deque[deque[ConnectionPool[Any]]] = deque(maxlen=_KEPT_FOR + 1)
        self._closed.append(deque(maxlen=_MOST_KEPT))
        self._provider = ref(provider)
        self._is_global = provider is get_meter_provider()
        self._asked: set[str] = set()
        self._read: list[tuple[Attributes, PoolStats]] = []
        self.create_time, self.wait_time, self.use_time = histograms_of(provider)
        meter = _meter_of(provider)
        for count in COUNTS:
            self._observe_with(meter, count)

    def belongs_to(self, provider: MeterProvider) -> bool:
        """Say whether `provider` is the one that these instruments report to.

        Before an SDK is configured the global provider is a stand-in, which then hands everything on to the SDK's.
        """
        return provider is (get_meter_provider() if self._is_global else self._provider())

    def report(self, pool: ConnectionPool[Any], attributes: Attributes) -> Attributes:
        """Report `pool` from now on; return the attributes of its points.

        Raises:
            ValueError: it is reported already.
        """
        attributes = self.pools.add(pool, attributes)
        if self.bridged:
            pool.keep_distributions()
        return attributes

    def retire(self, pool: ConnectionPool[Any]) -> None:
        """Leave the name of `pool`, which has been closed, to its successor; its last numbers are still collected."""
        self.pools.retire(pool)
        self._closed[-1].append(pool)

    def enlist(self, observer: Observer) -> None:
        """Let `observer`, whose spans need no more, be told of waits only, once no histogram needs more either."""
        observer.waits_only = isinstance(self.wait_time, NoOpHistogram)  # a bridge's, or where there are no metrics
        self._content.add(observer)

    def hand_over(self, create_time: Histogram, wait_time: Histogram, use_time: Histogram) -> None:
        """Let a bridge have the durations from the pools; what observers record all the same goes to these."""
        self.create_time, self.wait_time, self.use_time = create_time, wait_time, use_time
        self.bridged = True
        for observer in self._content:
            observer.waits_only = True
        for pool, _ in self.pools:
            pool.keep_distributions()
            _subscribe_anew(pool)

    def _observe_with(self, meter: Meter, count: Count) -> None:
        create = {
            "counter": meter.create_observable_counter,
            "updowncounter": meter.create_observable_up_down_counter,
            "gauge": meter.create_observable_gauge,
        }[count.kind]
        create(count.name, [partial(self._observe, count)], count.unit, count.description)

    def _observe(self, count: Count, options: CallbackOptions) -> Iterable[Observation]:
        for attributes, stats in self._stats_for(count):
            for values, number in count.read(stats):
                labels = {key: value for key, value in zip(count.labels, values, strict=True) if value}
                yield Observation(number, {**attributes, **labels})

    def _stats_for(self, count: Count) -> list[tuple[Attributes, PoolStats]]:
        """Read the pools once a collection, so that its numbers fit together: who asks again begins the next one."""
        if not self._asked or count.name in self._asked:
            self._read = self.pools.stats()
            self._asked = set()
            self._closed.append(deque(maxlen=_MOST_KEPT))
        self._asked.add(count.name)
        return self._read


def _subscribe_anew(pool: ConnectionPool[Any]) -> None:
    """Have `pool` look at what its observers want to hear of, as it does whenever one comes or goes."""
    nobody = Observer()
    pool.add_observer(nobody)
    pool.remove_observer(nobody)


def _meter_of(provider: MeterProvider) -> Meter:
    return provider.get_meter(SCOPE, VERSION, SCHEMA_URL)


def histograms_of(provider: MeterProvider) -> list[Histogram]:
    """Return the histograms of `provider`, in the order of `DURATIONS`: the same ones, whenever they are asked for."""
    return [_histogram(_meter_of(provider), duration) for duration in DURATIONS]


def _histogram(meter: Meter, duration: Duration) -> Histogram:
    return meter.create_histogram(
        duration.name,
        duration.unit,
        duration.description,
        explicit_bucket_boundaries_advisory=BOUNDS,
    )


def instruments_of(provider: MeterProvider | None) -> Instruments:
    """Return the instruments of `provider`, by default the global one, made at the first call."""
    provider = get_meter_provider() if provider is None else provider
    with _looking_up:
        known = next((each for each in _by_provider.values() if each.belongs_to(provider)), None)
        if known is None:
            known = _by_provider[provider] = Instruments(provider)
        return known
