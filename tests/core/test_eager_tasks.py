"""The pool under `asyncio.eager_task_factory`: a task may be over before `create_task` returns."""

import asyncio
import sys

import pytest

from instrumented_pool import PoolError
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import callers
from support.fakes import MakePool
from support.scenarios import SCENARIOS
from support.sweep import cancel_everywhere, fail_everywhere
from support.virtual import CLOCK, steps
from support.whole import assert_whole


def begin_tasks_at_once() -> None:
    """Every task runs its first step within `create_task`."""
    if sys.version_info >= (3, 12):  # below, conftest.py keeps this file from being collected
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)


@pytest.mark.parametrize("steps_to_connect", [0, 2])
@pytest.mark.parametrize("close_steps", [None, 0, 2])
async def test_eager_tasks_burst_and_shrink(
    make_pool: MakePool,
    strategy: FakeStrategy,
    recorder: RecordingObserver,
    steps_to_connect: int,
    close_steps: int | None,
) -> None:
    """A creation, and a close, that ends within the very call that starts it."""
    begin_tasks_at_once()
    strategy.create_steps, strategy.close_steps = steps_to_connect, close_steps
    pool = make_pool(max_size=2, burst_limit=4, min_size=1, observers=[recorder])

    async def borrow() -> None:
        async with pool.get_connection():
            assert_whole(pool)
            await asyncio.sleep(0.01)
        assert_whole(pool)

    await asyncio.gather(*(borrow() for _ in range(20)))
    assert pool.stats().total <= 2
    assert len(strategy.created) >= 4


async def test_eager_creation_that_fails_is_raised_where_its_caller_waits(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Although it failed before the caller could begin to wait."""
    begin_tasks_at_once()
    strategy.create_errors.append(OSError("refused"))
    pool = make_pool()
    with pytest.raises(OSError, match="refused"):
        await pool.get_connection().__aenter__()
    async with pool.get_connection() as conn:
        assert conn.number == 1


async def test_eager_creation_that_is_made_again_for_its_caller_has_a_context_of_its_own(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The second begins within the end of the first, and a context cannot be entered twice."""
    begin_tasks_at_once()
    strategy.gate.clear()
    pool = make_pool()
    (caller,) = await callers(pool, 1)
    pool.clear()
    strategy.gate.set()
    await steps()
    assert caller.conn is strategy.created[1]
    await caller.leave()


async def test_open_is_ended_by_an_eager_creation(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """That is over before `open()` could begin to wait for it."""
    begin_tasks_at_once()
    strategy.create_errors += [OSError("refused")] * 2
    pool = make_pool(min_size=1)
    with pytest.raises(PoolError, match="refused"):
        await pool.open()
    CLOCK.seconds += 5  # a blocked loop: the next attempt is due, and its timer has not fired
    await pool.open()
    assert pool.stats().idle == 1


async def test_eager_creation_that_arrives_dead_waits_out_the_back_off(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """It does not recurse."""
    begin_tasks_at_once()
    strategy.arrive_dead = 500
    async with make_pool().get_connection(timeout=None) as conn:
        assert conn.number == 501


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "bare"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_cancelling_an_eager_task_at_any_step_leaves_the_pool_whole(name: str, observed: bool) -> None:
    """As in test_cancellation.py, with every task begun at once."""
    cancel_everywhere(SCENARIOS[name], observed=observed, eager=True)


@pytest.mark.parametrize("kind", [ConnectionError, asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("name", SCENARIOS)
def test_strategy_failing_within_an_eager_task_leaves_the_pool_whole(name: str, kind: type[BaseException]) -> None:
    """As in test_faults.py: also where it raises through the very call that starts the task."""
    assert fail_everywhere(SCENARIOS[name], "strategy", kind, eager=True) > 0
