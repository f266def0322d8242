"""The collector that Prometheus scrapes."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from instrumented_pool import ConnectionPool, Distribution, Observer, PoolClosed, PoolStats
from instrumented_pool.metrics import (
    COUNTS,
    DURATIONS,
    POOL_NAME,
    Attributes,
    AttributeValue,
    Count,
    Duration,
    check_attributes,
)
from instrumented_pool.roster import PoolRoster
from instrumented_pool.trace_ids import TraceIds, check_trace_ids

from ._exemplars import Exemplars, Latest
from ._names import UNITS, family_name, identifier, series_name

_MULTIPROCESS_VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")  # set, be it to nothing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pool at the moment of a scrape."""

    labels: dict[str, str]
    exemplars: Latest
    stats: PoolStats


class PoolCollector(Observer, Collector):
    """Shows pools to Prometheus under the names that the OpenTelemetry metrics take there.

    Give it to the pools and to a registry:

        collector = PoolCollector()
        prometheus_client.REGISTRY.register(collector)
        pool = ConnectionPool(..., observers=[collector])

    It reads the pools, which it holds weakly, when it is scraped: they keep the distributions themselves. It hears of
    no acquire and no release, unless it is given `trace_ids`, and then only of those where somebody waited.
    """

    waits_only = True

    def __init__(self, *, attributes: Attributes | None = None, trace_ids: TraceIds | None = None) -> None:
        """Make a collector for the `observers` of pools and for a registry.

        Args:
            attributes: put on every sample as labels, such as `server.address`, which becomes `server_address`; besides
                those that each pool's strategy has, and instead of these where the keys are the same.
            trace_ids: returns the labels of an exemplar for the trace that is current, or None. Called, in the context
                of whom it concerns, for an acquire that queued or timed out, a use that others waited for, and a new
                connection. What it raises, and what OpenMetrics does not allow, costs the exemplar and goes to
                `on_observer_failed` and the log, as with any observer.

        Raises:
            RuntimeError: prometheus_client is in multiprocess mode, in which a collector that is read at scrape would
                show the pools of whichever process happens to answer.
            TypeError: an attribute has a type that cannot be reported, or `trace_ids` is no plain function.
            ValueError: two attributes make the same label, or one has a key of the pool's own or holds credentials.
        """
        if variable := next((name for name in _MULTIPROCESS_VARIABLES if name in os.environ), None):
            raise RuntimeError(
                f"{variable} is set, but PoolCollector reads the pools of its own process, which multiprocess mode "
                "cannot add up: let every process be scraped at a port of its own, or send the metrics by OTelObserver"
            )
        self._attributes = check_attributes(attributes)
        _check_labels(self._attributes)
        self._pools = PoolRoster()
        check_trace_ids(trace_ids)
        self._exemplars = None if trace_ids is None else Exemplars(trace_ids)
        if self._exemplars is not None:  # on the instance: without exemplars the pool subscribes it to none of these
            for hook in ("on_acquired", "on_acquire_failed", "on_released", "on_created"):
                setattr(self, hook, getattr(self._exemplars, hook))

    def attached(self, pool: ConnectionPool[Any]) -> None:
        """Show `pool` from now on.

        Raises:
            ValueError: it is shown already, or an attribute of its strategy makes the label of another.
        """
        _check_labels({**pool.attributes, **self._attributes})
        self._pools.add(pool, self._attributes)
        pool.keep_distributions()

    def detached(self, pool: ConnectionPool[Any]) -> None:
        """Show `pool` no longer."""
        self._pools.remove(pool)

    def on_pool_closed(self, event: PoolClosed) -> None:
        """Leave the pool's name to its successor."""
        self._pools.retire(event.pool)

    def describe(self) -> Iterable[Metric]:
        """Name the families without reading a pool, so that a registry can refuse a second collector."""
        return self._families([])

    def collect(self) -> Iterable[Metric]:
        """Read every pool once."""
        return self._families([self._snapshot(pool, attributes) for pool, attributes in self._pools])

    def _snapshot(self, pool: ConnectionPool[Any], attributes: Attributes) -> Snapshot:
        # The exemplars first: what comes meanwhile has no exemplar yet, rather than an exemplar no count.
        exemplars = {} if self._exemplars is None else self._exemplars.of(pool)
        labels = {identifier(key): _text(value) for key, value in attributes.items()}
        return Snapshot(labels, exemplars, pool.stats())

    def _families(self, pools: list[Snapshot]) -> Iterable[Metric]:
        for count in COUNTS:
            yield self._count_family(count, pools)
        for duration in DURATIONS:
            yield self._duration_family(duration, pools)

    def _count_family(self, count: Count, pools: list[Snapshot]) -> Metric:
        kind = CounterMetricFamily if count.kind == "counter" else GaugeMetricFamily
        family = kind(family_name(count), count.description, unit=UNITS.get(count.unit, ""))
        labels = [identifier(label) for label in count.labels]
        for pool in pools:
            exemplar = pool.exemplars.get((count.name, 0))
            for values, number in count.read(pool.stats):
                of_point = pool.labels | dict(zip(labels, values, strict=True))
                family.add_sample(series_name(count), of_point, number, exemplar=exemplar)
        return family

    def _duration_family(self, duration: Duration, pools: list[Snapshot]) -> Metric:
        name = family_name(duration)
        family = HistogramMetricFamily(name, duration.description, unit=UNITS[duration.unit])
        for pool in pools:
            if (distribution := duration.read(pool.stats)) is not None:
                for bucket, (bound, count) in enumerate(_buckets(distribution)):
                    exemplar = pool.exemplars.get((duration.name, bucket))
                    family.add_sample(f"{name}_bucket", {**pool.labels, "le": bound}, count, exemplar=exemplar)
                family.add_sample(f"{name}_count", pool.labels, sum(distribution.counts))
                family.add_sample(f"{name}_sum", pool.labels, distribution.sum)
        return family


def _buckets(distribution: Distribution) -> Iterator[tuple[str, int]]:
    bounds = chain(map(str, distribution.bounds), ["+Inf"])
    return zip(bounds, accumulate(distribution.counts), strict=True)


def _check_labels(attributes: Attributes) -> None:
    taken = {"le", *(identifier(key) for count in COUNTS for key in (POOL_NAME, *count.labels))}
    for key in attributes:
        label = identifier(key)
        if label in taken:
            raise ValueError(f"attributes must not have the key {key!r}: its label {label!r} is taken")
        taken.add(label)


def _text(value: AttributeValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
