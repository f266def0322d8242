"""The trace of the slowest acquire, from its real spans."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan


@dataclass(frozen=True)
class Row:
    """One span of a trace.

    Attributes:
        name: of the span.
        depth: how many spans of the trace it lies within.
        start, duration: seconds, from the start of the trace.
    """

    name: str
    depth: int
    start: float
    duration: float


@dataclass(frozen=True)
class Waterfall:
    """One trace.

    Attributes:
        trace_id: in hexadecimal, as tracing tools want it.
        rows: its spans, each after the one it lies within.
        seconds: how long the whole of it took.
    """

    trace_id: str
    rows: list[Row]
    seconds: float


def slowest_acquire(spans: Iterable[ReadableSpan]) -> Waterfall | None:
    """The trace in which a caller waited longest and got its connection; of several nearly as long, the fullest."""
    spans = list(spans)
    acquires = [s for s in spans if s.name == "pool.acquire" and s.status.is_unset]
    if not acquires:
        return None
    longest = max(map(_duration, acquires))
    traces: dict[int, list[ReadableSpan]] = {_ids(span)[0]: [] for span in acquires if _duration(span) >= 0.9 * longest}
    for span in spans:
        if (trace := _ids(span)[0]) in traces:
            traces[trace].append(span)
    return _waterfall(max(traces.values(), key=len))


def misplaced(spans: Iterable[ReadableSpan]) -> tuple[Counter[str], int]:
    """How many spans there are of each name, and how many of those of pool and driver do not lie where they belong."""
    spans = list(spans)
    names = {_ids(span)[1]: span.name for span in spans}
    wrong = 0
    for span in spans:
        if span.name in _PARENTS:
            parent = names.get(span.parent.span_id) if span.parent else None
            wrong += parent not in _PARENTS[span.name]
    return Counter(span.name for span in spans), wrong


_PARENTS = {
    "pool.acquire": ("GET /orders/{id}", "POST /checkout"),
    "pool.wait": ("pool.acquire",),
    "pool.create": ("pool.acquire",),
    "redis.connect": ("pool.create",),
}


def _waterfall(spans: list[ReadableSpan]) -> Waterfall:
    spans.sort(key=lambda span: span.start_time or 0)
    zero = spans[0].start_time or 0
    present = {_ids(span)[1] for span in spans}
    rows: list[Row] = []

    def add(span: ReadableSpan, depth: int) -> None:
        rows.append(Row(span.name, depth, ((span.start_time or 0) - zero) / 1e9, _duration(span)))
        for child in spans:
            if child.parent and child.parent.span_id == _ids(span)[1]:
                add(child, depth + 1)

    for span in spans:
        if not span.parent or span.parent.span_id not in present:
            add(span, 0)
    return Waterfall(f"{_ids(spans[0])[0]:032x}", rows, max(row.start + row.duration for row in rows))


def _ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    return (context.trace_id, context.span_id) if context else (0, 0)


def _duration(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9
