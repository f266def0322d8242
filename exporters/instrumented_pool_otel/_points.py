"""Distributions as the data points of OpenTelemetry's SDK."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from operator import add, sub
from typing import cast

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from instrumented_pool import BOUNDS, Distribution, PoolStats
from instrumented_pool.metrics import Attributes

from ._sdk import Stream

_NOTHING = Distribution(BOUNDS, (0,) * (len(BOUNDS) + 1), 0.0)
_UNKNOWN = cast(float, None)  # a least and a greatest that nobody kept: OTLP leaves them out


@dataclass(frozen=True, slots=True)
class Mark:
    """A pool at one moment.

    Attributes:
        at: when, in nanoseconds of the epoch.
        stats: its stats, or None where it had nothing to tell yet.
    """

    at: int
    stats: PoolStats | None = None

    def distribution(self, stream: Stream) -> Distribution:
        """What the pool had kept by then."""
        return (self.stats and stream.duration.read(self.stats)) or _NOTHING


def point_between(
    start: Mark, end: Mark, stream: Stream, attributes: Attributes, exemplars: Iterable[Exemplar]
) -> HistogramDataPoint:
    """What `stream` is told of a pool that went from `start` to `end`."""
    before, now = start.distribution(stream), end.distribution(stream)
    counts = list(map(sub, now.counts, before.counts))
    bounds = BOUNDS if stream.bounds is None else stream.bounds
    left_out = {key: value for key, value in attributes.items() if not stream.keeps(key)}
    return HistogramDataPoint(
        attributes={key: value for key, value in attributes.items() if stream.keeps(key)},
        start_time_unix_nano=start.at,
        time_unix_nano=end.at,
        count=sum(counts),
        sum=now.sum - before.sum,
        bucket_counts=_in_buckets(counts, bounds),
        explicit_bounds=bounds,
        min=_UNKNOWN,
        max=_UNKNOWN,
        exemplars=[replace(exemplar, filtered_attributes=left_out) for exemplar in exemplars],
    )


def _in_buckets(counts: Sequence[int], bounds: Sequence[float]) -> list[int]:
    """Pour our buckets into fewer."""
    fewer = [0] * (len(bounds) + 1)
    for upper, count in zip((*BOUNDS, inf), counts, strict=True):
        fewer[bisect_left(bounds, upper)] += count
    return fewer


def summed(points: Iterable[HistogramDataPoint]) -> list[HistogramDataPoint]:
    """Add up the points of the same attributes, and leave out those that count nothing."""
    sums: dict[object, HistogramDataPoint] = {}
    for point in points:
        if point.count:
            key = frozenset((point.attributes or {}).items())
            sums[key] = _sum(sums[key], point) if key in sums else point
    return list(sums.values())


def _sum(one: HistogramDataPoint, other: HistogramDataPoint) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=one.attributes,
        start_time_unix_nano=min(one.start_time_unix_nano, other.start_time_unix_nano),
        time_unix_nano=max(one.time_unix_nano, other.time_unix_nano),
        count=one.count + other.count,
        sum=one.sum + other.sum,
        bucket_counts=list(map(add, one.bucket_counts, other.bucket_counts)),
        explicit_bounds=one.explicit_bounds,
        min=_UNKNOWN,
        max=_UNKNOWN,
        exemplars=[*one.exemplars, *other.exemplars],
    )
