"""The spans that the slowest durations happened in."""

from bisect import bisect_left
from collections.abc import Collection
from time import time_ns

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import NoOpHistogram
from opentelemetry.sdk.metrics import Exemplar, ExemplarFilter
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import Attributes

from instrumented_pool import BOUNDS
from instrumented_pool.metrics import POOL_NAME


class Exemplars(NoOpHistogram):
    """Stands in the place of a histogram, and keeps of what is recorded the slowest of each pool and bucket.

    Recorded on an event loop, read by a collecting thread: what they share are lists of a fixed length.
    """

    def __init__(self, name: str, wanted: ExemplarFilter) -> None:
        super().__init__(name)
        self._wanted = wanted
        self._slowest: dict[object, list[Exemplar | None]] = {}
        self._read_at = 0

    def record(self, amount: float, attributes: Attributes = None, context: Context | None = None) -> None:
        """Keep `amount` where it is the slowest in its bucket since somebody read it, if the SDK's filter wants it."""
        at, context = time_ns(), get_current() if context is None else context
        if not attributes or not self._wanted.should_sample(amount, at, attributes, context):
            return
        slowest = self._slowest.setdefault(attributes[POOL_NAME], [None] * (len(BOUNDS) + 1))
        bucket = bisect_left(BOUNDS, amount)
        known = slowest[bucket]
        if known is None or known.time_unix_nano <= self._read_at or known.value <= amount:
            span = get_current_span(context).get_span_context()
            ids = (span.span_id, span.trace_id) if span.is_valid else (None, None)
            slowest[bucket] = Exemplar({}, amount, at, *ids)

    def between(self, since: int, until: int, pool_name: object) -> list[Exemplar]:
        """Those of one pool that are later than `since` and not later than `until`, nanoseconds of the epoch."""
        slowest = self._slowest.get(pool_name, ())
        return [each for each in slowest if each is not None and since < each.time_unix_nano <= until]

    def were_read(self, at: int, pool_names: Collection[object]) -> None:
        """Let those until `at` give way to any later one, and forget all pools but these."""
        self._read_at = at
        for gone in set(self._slowest).difference(pool_names):
            del self._slowest[gone]
