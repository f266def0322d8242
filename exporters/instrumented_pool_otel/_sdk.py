"""What the bridge needs of OpenTelemetry's SDK and the SDK does not make public: all of it is here.

Tried with opentelemetry-sdk 1.30 to 1.45.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from opentelemetry.sdk.metrics import ExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics._internal.aggregation import _DropAggregation
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from instrumented_pool import BOUNDS
from instrumented_pool.metrics import DURATIONS, Duration

Collect: TypeAlias = Callable[..., MetricsData | None]


@dataclass(frozen=True, slots=True)
class Stream:
    """What one reader makes of one histogram: views may rename it, leave attributes out, or ask for it twice.

    Attributes:
        duration: the histogram, as it is in our table.
        name, description: what the reader calls it.
        keys: the attributes that it keeps, or None where that is all.
        bounds: of the buckets that it wants, in seconds, or None where it wants what our buckets cannot give.
    """

    duration: Duration
    name: str
    description: str
    keys: Collection[str] | None
    bounds: tuple[float, ...] | None

    def keeps(self, key: str) -> bool:
        """Whether points have the attribute `key`."""
        return self.keys is None or key in self.keys


class Sdk:
    """The inside of a meter provider.

    Raises:
        AttributeError: this version of the SDK is another inside than those that we know.
    """

    def __init__(self, provider: MeterProvider, histograms: Sequence[HistogramInstrument]) -> None:
        self._histograms = histograms
        self._consumer = provider._measurement_consumer
        self._config = self._consumer._sdk_config
        self.collect = cast(Collect, self._consumer.collect)

    @property
    def resource(self) -> Resource:
        """What the metrics pertain to; the SDK gives a process that was forked another."""
        return self._config.resource

    @property
    def scope(self) -> InstrumentationScope:
        """Of our instruments."""
        return self._histograms[0].instrumentation_scope

    @property
    def exemplar_filter(self) -> ExemplarFilter:
        """Says which measurements may become exemplars."""
        return self._config.exemplar_filter

    def readers(self) -> list[MetricReader]:
        """Those that the provider has now."""
        return list(self._consumer._reader_storages)

    def streams(self, reader: MetricReader) -> list[Stream]:
        """What `reader` makes of our histograms, by the provider's views and by its own preferences."""
        storage = self._consumer._reader_storages[reader]
        return [
            Stream(
                duration,
                match._name,
                match._description,
                match._view._attribute_keys,
                _bounds_of(match._aggregation),
            )
            for duration, histogram in zip(DURATIONS, self._histograms, strict=True)
            for match in storage._get_or_init_view_instrument_match(histogram)
            if not isinstance(match._aggregation, _DropAggregation)
        ]

    def temporality(self, reader: MetricReader) -> AggregationTemporality:
        """Whether `reader` wants of a histogram what was since its last collection, or since the beginning."""
        kind: Any = type(self._histograms[0])
        return reader._instrument_class_temporality[kind]

    def intercept(self, collect: Collect) -> None:
        """Have every reader, also those added later, collect by `collect`."""
        self._consumer.collect = collect  # type: ignore[method-assign]
        for reader in self.readers():
            reader._set_collect_callback(cast(Any, collect))  # what the SDK annotates there is not what it passes


def _bounds_of(aggregation: object) -> tuple[float, ...] | None:
    bounds = getattr(aggregation, "_boundaries", None)
    return tuple(bounds) if bounds is not None and set(bounds) <= set(BOUNDS) else None
