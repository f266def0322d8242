"""The collector that Prometheus scrapes."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

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

Snapshot: TypeAlias = Sequence[tuple[list[str], PoolStats]]

_UNITS = {"s": "seconds"}
_MULTIPROCESS_VARIABLES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


class PoolCollector(Observer, Collector):
    """Shows pools to Prometheus under the names that the OpenTelemetry metrics take there.

    Give it to the pools and to a registry:

        collector = PoolCollector()
        prometheus_client.REGISTRY.register(collector)
        pool = ConnectionPool(..., observers=[collector])

    It reads the pools, which it holds weakly, when it is scraped. It hears of no acquire and no release: the pools keep
    the distributions themselves.
    """

    def __init__(self, *, attributes: Attributes | None = None) -> None:
        """Make a collector for the `observers` of pools and for a registry.

        Args:
            attributes: put on every sample as labels, such as `server.address`, which becomes `server_address`.

        Raises:
            RuntimeError: prometheus_client is in multiprocess mode, in which a collector that is read at scrape would
                show the pools of whichever process happens to answer.
            TypeError: an attribute has a type that cannot be reported.
            ValueError: two attributes make the same label, or one has a key of the pool's own or holds credentials.
        """
        if variable := next((name for name in _MULTIPROCESS_VARIABLES if name in os.environ), None):
            raise RuntimeError(
                f"{variable} is set, but PoolCollector reads the pools of its own process, which multiprocess mode "
                "cannot add up: let every process be scraped at a port of its own, or send the metrics by OTelObserver"
            )
        self._attributes = check_attributes(attributes)
        self._labels = [*_labels_of(self._attributes), _identifier(POOL_NAME)]
        self._pools = PoolRoster()

    def attached(self, pool: ConnectionPool[Any]) -> None:
        """Show `pool` from now on.

        Raises:
            ValueError: it is shown already.
        """
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
        snapshot = [([_text(value) for value in attributes.values()], pool.stats()) for pool, attributes in self._pools]
        return self._families(snapshot)

    def _families(self, snapshot: Snapshot) -> Iterable[Metric]:
        for count in COUNTS:
            yield self._count_family(count, snapshot)
        for duration in DURATIONS:
            yield self._duration_family(duration, snapshot)

    def _count_family(self, count: Count, snapshot: Snapshot) -> Metric:
        kind = CounterMetricFamily if count.kind == "counter" else GaugeMetricFamily
        labels = [*self._labels, *map(_identifier, count.labels)]
        family = kind(_identifier(count.name), count.description, labels=labels, unit=_UNITS.get(count.unit, ""))
        for pool, stats in snapshot:
            for values, number in count.read(stats):
                family.add_metric([*pool, *values], number)
        return family

    def _duration_family(self, duration: Duration, snapshot: Snapshot) -> Metric:
        name, unit = _identifier(duration.name), _UNITS[duration.unit]
        family = HistogramMetricFamily(name, duration.description, labels=self._labels, unit=unit)
        for pool, stats in snapshot:
            if (distribution := duration.read(stats)) is not None:
                family.add_metric(pool, _buckets(distribution), distribution.sum)
        return family


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    bounds = chain(map(str, distribution.bounds), ["+Inf"])
    return list(zip(bounds, accumulate(distribution.counts), strict=True))


def _labels_of(attributes: Attributes) -> list[str]:
    taken = {"le", *(_identifier(key) for count in COUNTS for key in (POOL_NAME, *count.labels))}
    labels: list[str] = []
    for key in attributes:
        label = _identifier(key)
        if label in taken:
            raise ValueError(f"attributes must not have the key {key!r}: its label {label!r} is taken")
        taken.add(label)
        labels.append(label)
    return labels


def _identifier(name: str) -> str:
    """The name of a metric or of a label, by OpenTelemetry's rules for Prometheus."""
    return re.sub(r"^(?=\d)|[^a-zA-Z0-9]+", "_", name)


def _text(value: AttributeValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
