"""An outage does not flood the log, and nothing of it is lost."""

import asyncio
import random
from collections.abc import MutableMapping
from typing import Any, TypeAlias

import pytest
from structlog.testing import capture_logs

from instrumented_pool import Observer, PoolClosedError, PoolTimeoutError, Released
from instrumented_pool.testing import FakeStrategy
from instrumented_pool_structlog import StructlogObserver
from support.clock import Clock
from support.fakes import MakePool, Pool

Line: TypeAlias = MutableMapping[str, Any]


async def borrow(pool: Pool) -> None:
    """Acquire and release at once."""
    async with pool.get_connection():
        pass


async def hold(pool: Pool, barrier: asyncio.Barrier) -> None:
    """Hold until all do."""
    async with pool.get_connection():
        await barrier.wait()


async def time_out(pool: Pool, times: int = 1) -> None:
    """Ask in vain of a pool that has lent everything."""
    for _ in range(times):
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass


async def refuse(pool: Pool, strategy: FakeStrategy, error: Exception, times: int = 1) -> None:
    """Ask while the server refuses."""
    for _ in range(times):
        strategy.create_errors.append(error)
        with pytest.raises(type(error)):
            async with pool.get_connection():
                pass


def of(lines: list[Line], event: str) -> list[Line]:
    return [line for line in lines if line["event"] == event]


def suppressed(lines: list[Line]) -> list[int]:
    return [line["suppressed"] for line in lines if "suppressed" in line]


async def test_first_lines_of_a_window_are_logged_and_the_others_are_counted(build: MakePool, clock: Clock) -> None:
    """The count comes before the first line of the next window, with the level and the reason of what it counts."""
    pool = build(StructlogObserver(max_repeats=3, repeat_window=60.0))
    with capture_logs() as lines:
        async with pool.get_connection():
            await time_out(pool, 10)
            clock.ahead += 59
            await time_out(pool, 2)
            assert len(of(lines, "on_acquire_failed")) == 3
            clock.ahead += 2
            await time_out(pool)
    *first, count, last = of(lines, "on_acquire_failed")
    assert [line["acquire_id"] for line in (*first, last)] == [2, 3, 4, 14]
    assert 59 <= count.pop("seconds") < 60
    assert count == {
        "event": "on_acquire_failed",
        "log_level": "error",
        "pool": "orders",
        "reason": "timeout",
        "suppressed": 9,
    }


async def test_window_that_held_nothing_back_is_not_mentioned(build: MakePool, clock: Clock) -> None:
    """A line an hour is a line an hour."""
    pool = build(StructlogObserver(max_repeats=1))
    with capture_logs() as lines:
        async with pool.get_connection():
            for _ in range(3):
                await time_out(pool)
                clock.ahead += 3600
    assert len(of(lines, "on_acquire_failed")) == 3
    assert not suppressed(lines)


async def test_any_event_of_the_pool_reports_what_is_over(build: MakePool, clock: Clock) -> None:
    """A burst, say, long after the outage."""
    pool = build(StructlogObserver(max_repeats=1), burst_limit=2)
    with capture_logs() as lines:
        async with pool.get_connection():
            async with pool.get_connection():
                await time_out(pool, 5)
                lines.clear()
                clock.ahead += 60
            assert [line["event"] for line in lines] == ["on_acquire_failed", "on_burst_ended"]
    assert suppressed(lines) == [4]


async def test_one_kind_does_not_hide_another(build: MakePool) -> None:
    """Reasons, types of errors, hooks and pools are told apart."""

    class Broken(Observer):
        def on_released(self, event: Released) -> None:
            raise ValueError

        def on_closed(self, event: object) -> None:
            raise ValueError

    observer, strategy = StructlogObserver(max_repeats=1), FakeStrategy()
    pool, other = build(observer, strategy), build(observer, name="other")
    pool.add_observer(Broken())
    with capture_logs() as lines:
        for error in (ConnectionRefusedError(), TimeoutError(), ConnectionRefusedError(), TimeoutError()):
            await refuse(pool, strategy, error)
        for each in (pool, other):
            async with each.get_connection():
                await time_out(each, 2)
        pool.clear()
        async with pool.get_connection():
            pass
    assert [(line["pool"], line["reason"]) for line in of(lines, "on_acquire_failed")] == [
        ("orders", "create_error"),
        ("orders", "timeout"),
        ("other", "timeout"),
    ]
    assert [line["error"] for line in of(lines, "on_create_failed")] == ["ConnectionRefusedError", "TimeoutError"]
    assert [line["hook"] for line in of(lines, "on_observer_failed")] == ["on_released", "on_closed"]


async def test_closing_the_pool_reports_what_was_held_back(build: MakePool) -> None:
    """There may be no next line."""
    pool = build(StructlogObserver(max_repeats=2))
    with capture_logs() as lines:
        async with pool.get_connection():
            await time_out(pool, 7)
        await pool.close()
    assert suppressed(lines) == [5]


async def test_removing_the_observer_reports_what_was_held_back(build: MakePool) -> None:
    """It hears of nothing any more."""
    observer = StructlogObserver(max_repeats=2)
    pool = build(observer)
    with capture_logs() as lines:
        async with pool.get_connection():
            await time_out(pool, 7)
            pool.remove_observer(observer)
    assert suppressed(lines) == [5]


async def test_callers_that_a_close_turns_away_are_counted_to_the_last(build: MakePool) -> None:
    """They are told after the pool's own last line, with a connection still lent."""
    pool = build(StructlogObserver(max_repeats=2))
    with capture_logs() as lines:
        async with pool.get_connection():
            waiting = [asyncio.create_task(borrow(pool)) for _ in range(9)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(pool.close())
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert len(of(lines, "on_acquire_failed")) == 3
        await closing
    assert all(isinstance(result, PoolClosedError) for result in results)
    events = [line["event"] for line in lines]
    assert events.index("on_pool_closed") < events.index("on_acquire_failed")
    assert suppressed(lines) == [7]


async def test_callers_of_a_closed_pool_do_not_flood_either(build: MakePool, clock: Clock) -> None:
    """A service that goes on after its pool was closed."""
    pool = build(StructlogObserver(max_repeats=2))
    await pool.close()
    with capture_logs() as lines:
        for _ in range(20):
            with pytest.raises(PoolClosedError):
                await borrow(pool)
        assert len(lines) <= 4
        clock.ahead += 60
        with pytest.raises(PoolClosedError):
            await borrow(pool)
    assert sum(suppressed(lines)) + len([line for line in lines if "suppressed" not in line]) == 21


async def test_every_close_error_of_a_closed_pool_is_logged(build: MakePool) -> None:
    """No line follows that could count them, and there are no more of them than connections."""
    strategy = FakeStrategy()
    strategy.close_errors += [OSError() for _ in range(5)]
    pool = build(StructlogObserver(max_repeats=2), strategy, max_size=5)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            barrier = asyncio.Barrier(5)
            for _ in range(5):
                group.create_task(hold(pool, barrier))
        await pool.close()
    assert len(of(lines, "on_close_error")) == 5


async def test_nothing_is_held_back_where_none_is_asked_for(build: MakePool) -> None:
    """`max_repeats=None` logs all."""
    pool = build(StructlogObserver(max_repeats=None))
    with capture_logs() as lines:
        async with pool.get_connection():
            await time_out(pool, 30)
    assert len(of(lines, "on_acquire_failed")) == 30


async def test_routine_lines_are_never_held_back(build: MakePool) -> None:
    """Who asks for every acquire gets every acquire."""
    pool = build(StructlogObserver(routine=True, max_repeats=1))
    with capture_logs() as lines:
        for _ in range(30):
            await borrow(pool)
    assert len(of(lines, "on_acquired")) == len(of(lines, "on_released")) == 30


@pytest.mark.parametrize("seed", range(5))
async def test_lines_and_counts_make_up_all_that_happened(build: MakePool, clock: Clock, seed: int) -> None:
    """Whatever fails in whatever order, however the windows lie."""
    chance, strategy = random.Random(seed), FakeStrategy()
    observer = StructlogObserver(max_repeats=chance.randint(1, 5), repeat_window=chance.uniform(1, 20))
    pool, held = build(observer, strategy), build(observer, name="held")
    with capture_logs() as lines:
        async with held.get_connection():
            for _ in range(300):
                clock.ahead += chance.expovariate(1.0)
                if chance.random() < 0.5:
                    await time_out(held)
                else:
                    await refuse(pool, strategy, chance.choice([OSError(), TimeoutError()]))
        await pool.close()
        await held.close()
    failed = of(lines, "on_acquire_failed") + of(lines, "on_create_failed")
    counted = sum(line.get("suppressed", 1) for line in failed)
    stats = pool.stats()
    assert counted == held.stats().failed["timeout"] + stats.failed["create_error"] + stats.create_errors
    assert suppressed(lines)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_repeats": 0}, ValueError, "max_repeats must be at least 1, got 0"),
        ({"max_repeats": 1.5}, TypeError, "max_repeats must be an integer or None, got 1.5"),
        ({"repeat_window": 0}, ValueError, "repeat_window must be more than 0 seconds, got 0"),
        ({"repeat_window": None}, TypeError, "repeat_window must be a number of seconds, got None"),
        ({"trace_ids": "current_trace"}, TypeError, "trace_ids must be a plain function .* got str"),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """With the parameter and its value."""
    with pytest.raises(error, match=message):
        StructlogObserver(**options)
