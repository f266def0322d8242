"""The bridge: the pools' own distributions, added to what the readers of OpenTelemetry's SDK collect.

What the specification has for this, a `MetricProducer`, the SDK for Python lacks. So the bridge stands between the
readers of a provider and the one function by which they all collect.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from threading import Lock
from time import time_ns
from weakref import WeakKeyDictionary

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)

from instrumented_pool.metrics import DURATIONS, POOL_NAME, Attributes

from ._exemplars import Exemplars
from ._instruments import Instruments
from ._points import Mark, point_between, summed
from ._sdk import Sdk, Stream
from ._successions import Series, series_of

_log = logging.getLogger("instrumented_pool")


@dataclass(slots=True)
class _Progress:
    """How far a reader has come.

    Attributes:
        at: when it last collected, in nanoseconds of the epoch.
        marks: from where on it is told of each series.
    """

    at: int
    marks: dict[Series, Mark] = field(default_factory=dict)

    def mark_of(self, series: Series) -> Mark:
        """Where it is told of `series` from: where it last collected, if there was no pool of it then."""
        return self.marks.setdefault(series, Mark(self.at))


class Bridge:
    """Takes the distributions of the pools that `instruments` report to all readers of their provider."""

    def __init__(self, sdk: Sdk, instruments: Instruments) -> None:
        self._sdk = sdk
        self._pools = instruments.pools
        self._collecting = Lock()
        self._failed = False
        self._readers: WeakKeyDictionary[MetricReader, _Progress] = WeakKeyDictionary()
        self._began = _Progress(time_ns())
        self._pools.stats()
        for series, stats in self._pools.latest().items():  # what was kept so far was recorded in the SDK as well
            self._began.marks[series] = Mark(self._began.at, stats)
        exemplars = [Exemplars(duration.name, sdk.exemplar_filter) for duration in DURATIONS]
        self._exemplars = dict(zip(DURATIONS, exemplars, strict=True))
        instruments.hand_over(*exemplars)
        sdk.intercept(self.collect)

    def collect(self, reader: MetricReader, timeout_millis: float = 10_000) -> MetricsData | None:
        """Collect for `reader` what the SDK has, and add what the pools have."""
        with self._collecting:
            data = self._sdk.collect(reader, timeout_millis=timeout_millis)
            try:
                return self._with_durations(data, reader)
            except Exception:  # the application's own metrics must not suffer
                if not self._failed:
                    _log.exception("the bridge failed: metrics are collected without the pools' durations")
                self._failed = True
                return data

    def _with_durations(self, data: MetricsData | None, reader: MetricReader) -> MetricsData | None:
        progress = self._readers.setdefault(reader, _Progress(self._began.at, self._began.marks.copy()))
        temporality, at = self._sdk.temporality(reader), time_ns()
        pools = [(attributes, Mark(at, stats)) for attributes, stats in self._pools.stats()]
        ours = self._our_scope(data)
        durations: dict[str, Metric] = {}
        for stream in self._sdk.streams(reader):
            points = [*_recorded(ours, stream), *(self._point(stream, progress, *pool) for pool in pools)]
            if points := summed(points):
                histogram = Histogram(points, temporality)
                durations[stream.name] = Metric(stream.name, stream.description, stream.duration.unit, histogram)
        progress.at = at
        if temporality is AggregationTemporality.DELTA:
            progress.marks.update({series_of(attributes): now for attributes, now in pools})
        for exemplars in self._exemplars.values():
            exemplars.were_read(at, {attributes[POOL_NAME] for attributes, _ in pools})
        others = [metric for metric in ours.metrics if metric.name not in durations]
        return self._with_scope(data, replace(ours, metrics=[*others, *durations.values()]))

    def _point(self, stream: Stream, progress: _Progress, attributes: Attributes, now: Mark) -> HistogramDataPoint:
        exemplars = self._exemplars[stream.duration].between(progress.at, now.at, attributes[POOL_NAME])
        return point_between(progress.mark_of(series_of(attributes)), now, stream, attributes, exemplars)

    def _our_scope(self, data: MetricsData | None) -> ScopeMetrics:
        scope = self._sdk.scope
        found = (each for each in _scopes(data) if each.scope == scope)
        return next(found, ScopeMetrics(scope, [], scope.schema_url or ""))

    def _with_scope(self, data: MetricsData | None, ours: ScopeMetrics) -> MetricsData | None:
        scopes = [*(each for each in _scopes(data) if each.scope != ours.scope), *([ours] if ours.metrics else [])]
        resource = self._sdk.resource
        return MetricsData([ResourceMetrics(resource, scopes, resource.schema_url)]) if scopes else data


def _scopes(data: MetricsData | None) -> Iterable[ScopeMetrics]:
    """Those of the one resource that an SDK has."""
    return [] if data is None else data.resource_metrics[0].scope_metrics


def _recorded(ours: ScopeMetrics, stream: Stream) -> Iterable[HistogramDataPoint]:
    """What the SDK was told one by one, before the bridge was built."""
    data = next((metric.data for metric in ours.metrics if metric.name == stream.name), None)
    return data.data_points if isinstance(data, Histogram) else []
