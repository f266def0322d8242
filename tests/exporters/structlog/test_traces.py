"""Each line has the ids of the span that it belongs to, beside the real OpenTelemetry SDK."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeAlias

import pytest
from opentelemetry.trace import format_span_id, format_trace_id
from structlog.testing import capture_logs

from instrumented_pool import ConnectionPool, PoolTimeoutError
from instrumented_pool.testing import FakeStrategy
from instrumented_pool.trace_ids import TraceIds
from instrumented_pool_structlog import StructlogObserver
from support.fakes import MakePool, Pool
from support.pages import DOCS, run_block
from support.telemetry import Telemetry, until

Line: TypeAlias = MutableMapping[str, Any]

current_trace: TraceIds = run_block(DOCS / "exporters" / "prometheus.md", "def current_trace")["current_trace"]


def add_trace(logger: object, method: str, line: Line) -> Line:
    """A processor as users of structlog have it."""
    return {**line, **(current_trace() or {})}


@pytest.fixture(params=["processor", "trace_ids"])
def observer(request: pytest.FixtureRequest) -> Iterator[StructlogObserver]:
    """With the ids added by a processor of the user's, or bound by the observer."""
    if request.param == "processor":
        yield StructlogObserver()
    else:
        yield StructlogObserver(trace_ids=current_trace)


@pytest.fixture
def lines(observer: StructlogObserver) -> Iterator[list[Line]]:
    """What is logged; captured behind the processor of the user's, where there is one."""
    processors = [] if observer._trace_ids else [add_trace]
    with capture_logs(processors=processors) as lines:
        yield lines


def one(lines: list[Line], event: str) -> Line:
    (line,) = [line for line in lines if line["event"] == event]
    return line


def ids(line: Line) -> tuple[str, str] | None:
    return (line["trace_id"], line["span_id"]) if "trace_id" in line else None


def span(telemetry: Telemetry, name: str) -> tuple[str, str]:
    context = telemetry.span(name).context
    assert context is not None
    return format_trace_id(context.trace_id), format_span_id(context.span_id)


async def borrow(pool: Pool, timeout: float | None = None) -> None:
    async with pool.get_connection(timeout=timeout):
        pass


async def test_failed_acquire_has_the_callers_span(
    build: MakePool, observer: StructlogObserver, lines: list[Line], telemetry: Telemetry
) -> None:
    """Although it is the pool's timer that ends the wait, in nobody's context."""
    pool = build(observer)
    with telemetry.tracer.start_as_current_span("holder"):
        async with pool.get_connection():
            with telemetry.tracer.start_as_current_span("caller"), pytest.raises(PoolTimeoutError):
                await borrow(pool, timeout=0.001)
    assert ids(one(lines, "on_acquire_failed")) == span(telemetry, "caller")


async def test_failed_creation_has_the_span_of_the_caller_it_was_for(
    build: MakePool, observer: StructlogObserver, lines: list[Line], telemetry: Telemetry
) -> None:
    """Although the pool makes it, in a task of its own."""
    strategy = FakeStrategy(create_steps=3)
    strategy.create_errors.append(OSError("refused"))
    pool = build(observer, strategy)
    with telemetry.tracer.start_as_current_span("caller"), pytest.raises(OSError, match="refused"):
        await borrow(pool)
    assert ids(one(lines, "on_create_failed")) == span(telemetry, "caller")


async def test_close_error_has_the_span_of_who_gave_the_connection_up(
    build: MakePool, observer: StructlogObserver, lines: list[Line], telemetry: Telemetry
) -> None:
    """Although the close goes on in a task, and ends after that span."""
    strategy = FakeStrategy(close_steps=5)
    strategy.close_errors.append(OSError("broken"))
    pool = build(observer, strategy, burst_limit=2, close_errors="observe")
    async with pool.get_connection():
        with telemetry.tracer.start_as_current_span("burst"):
            await borrow(pool)
        await until(lambda: pool.stats().close_errors == 1)
    assert ids(one(lines, "on_close_error")) == span(telemetry, "burst")
    assert ids(one(lines, "on_burst_started")) == span(telemetry, "burst")


async def test_suspected_leak_has_the_holders_span(
    build: MakePool, observer: StructlogObserver, lines: list[Line], telemetry: Telemetry
) -> None:
    """Found by a timer; Python 3.11 does not say what the context of a task is, so there it has none."""
    pool = build(observer, leak_after=0.001)
    with telemetry.tracer.start_as_current_span("before"):
        await borrow(pool)

    async def hold() -> None:
        with telemetry.tracer.start_as_current_span("holder"):
            async with pool.get_connection():
                await until_leaked(pool)

    await asyncio.create_task(hold())
    expected = span(telemetry, "holder") if sys.version_info >= (3, 12) else None
    assert ids([line for line in lines if line["event"] == "on_leak_suspected"][-1]) == expected


async def until_leaked(pool: Pool) -> None:
    before = pool.stats().leaks_suspected
    while pool.stats().leaks_suspected == before:
        await asyncio.sleep(0.001)


async def test_what_the_timer_closes_is_in_no_trace(telemetry: Telemetry) -> None:
    """Least of all in that of the caller that happened to arm the timer."""
    strategy = FakeStrategy()
    strategy.close_errors.append(OSError("broken"))
    observer = StructlogObserver(trace_ids=current_trace)
    pool = ConnectionPool(strategy=strategy, max_size=1, idle_timeout=0.001, observers=[observer])
    with capture_logs() as lines:
        with telemetry.tracer.start_as_current_span("caller"):
            await borrow(pool)
            while not pool.stats().close_errors:
                await asyncio.sleep(0.001)
        await pool.close()
    assert ids(one(lines, "on_close_error")) is None


async def test_without_a_span_there_are_no_ids(build: MakePool) -> None:
    """Neither empty ones nor zeros."""
    with capture_logs() as lines:
        await borrow(build(StructlogObserver(trace_ids=current_trace)))
    assert [set(line) for line in lines] == [{"event", "log_level", "pool"}]


def raises() -> dict[str, str]:
    raise LookupError("no tracer")


@pytest.mark.parametrize(
    ("trace_ids", "message"),
    [
        (raises, "LookupError: no tracer"),
        (lambda: 7, "TypeError: trace_ids must return a mapping of str to str, or None, got int"),
        (lambda: {"event": "mine", "level": "x"}, "ValueError: trace_ids must not return the keys ['event', 'level']"),
    ],
)
async def test_ids_that_cannot_be_had_cost_no_line(
    build: MakePool, trace_ids: Callable[[], Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged without, and what went wrong is logged once for each hook."""
    pool = build(StructlogObserver(trace_ids=trace_ids))
    with capture_logs() as lines:
        async with pool.get_connection():
            for _ in range(3):
                with pytest.raises(PoolTimeoutError):
                    await borrow(pool, timeout=0)
    failed = [line for line in lines if line["event"] == "on_acquire_failed"]
    assert [line["reason"] for line in failed] == ["timeout"] * 3
    said = [record.getMessage() for record in caplog.records if "on_acquire_failed raised" in record.getMessage()]
    assert len(said) == 1
    assert message in said[0]


async def test_the_events_own_keys_are_never_covered(build: MakePool) -> None:
    """Whatever the function calls its ids."""
    pool = build(StructlogObserver(trace_ids=lambda: {"pool": "theirs", "reason": "theirs", "dd.trace_id": "7"}))
    with capture_logs() as lines:
        async with pool.get_connection():
            with pytest.raises(PoolTimeoutError):
                await borrow(pool, timeout=0)
    line = one(lines, "on_acquire_failed")
    assert (line["pool"], line["reason"], line["dd.trace_id"]) == ("orders", "timeout", "7")


def test_the_observer_imports_no_tracing_library() -> None:
    """It knows no more than what the function tells it."""
    script = (
        "import sys, instrumented_pool_structlog; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'opentelemetry', 'ddtrace'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n"
