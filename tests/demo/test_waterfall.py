"""The waterfall of the slowest acquire, drawn from spans of the real SDK."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, set_span_in_context

from instrumented_pool._demo._waterfall import Row, misplaced, slowest_acquire

SECOND = 1_000_000_000


def nested(*spans: tuple[str, int, int], failed: bool = False) -> Sequence[ReadableSpan]:
    """One trace of spans by name, start and end in seconds, each within the one before."""
    exporter, provider, context = InMemorySpanExporter(), TracerProvider(), None
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for name, start, end in spans:
        span = tracer.start_span(name, context, start_time=start * SECOND)
        context = set_span_in_context(span)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end * SECOND)
    return exporter.get_finished_spans()


QUICK = nested(("GET /orders/{id}", 0, 2), ("pool.acquire", 0, 1), ("pool.wait", 0, 1))
SLOW = nested(
    ("GET /orders/{id}", 10, 19), ("pool.acquire", 11, 15), ("pool.create", 12, 18), ("redis.connect", 13, 17)
)
GIVEN_UP = nested(("GET /orders/{id}", 0, 90), ("pool.acquire", 0, 90), ("pool.wait", 0, 90), failed=True)


def test_slowest_acquire_is_shown_with_all_that_lies_within_it() -> None:
    """In order and in depth, with seconds from the start of its trace; one that failed got no connection to show."""
    waterfall = slowest_acquire([*GIVEN_UP, *QUICK, *SLOW])
    assert waterfall is not None
    assert waterfall.rows == [
        Row("GET /orders/{id}", 0, 0, 9),
        Row("pool.acquire", 1, 1, 4),
        Row("pool.create", 2, 2, 6),
        Row("redis.connect", 3, 3, 4),
    ]
    assert waterfall.seconds == 9


def test_without_an_acquire_there_is_nothing_to_show() -> None:
    """And no error."""
    assert slowest_acquire([]) is None


def test_span_outside_of_where_it_belongs_is_counted() -> None:
    """The demo claims that there is none."""
    astray = nested(("GET /orders/{id}", 0, 9), ("redis.connect", 1, 2))
    assert misplaced([*QUICK, *SLOW])[1] == 0
    assert misplaced([*QUICK, *SLOW, *astray])[1] == 1
