"""Tasks that wait for each other's connections are told at once, and nobody else ever is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrumented_pool import (
    Acquired,
    AcquireFailed,
    AcquireStarted,
    ConnectionPool,
    Observer,
    PoolDeadlockError,
    PoolTimeoutError,
    _pool,
)
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import callers
from support.fakes import MakePool, Pool
from support.virtual import CLOCK, START, VirtualLoop

SOON = 0.02  # seconds within which a deadlock is told
AGES = 10_000.0


async def hold_one_and_ask(pool: Pool, pause: float = 0, timeout: float | None = 30.0) -> str:
    """Take a connection and then, within its body, one more; says how that ended."""
    async with pool.get_connection():
        await asyncio.sleep(pause)
        try:
            async with pool.get_connection(timeout=timeout):
                return "served"
        except PoolDeadlockError:
            return "deadlock"
        except PoolTimeoutError:
            return "timeout"


# --- what is told


async def test_task_that_waits_for_itself_is_told_at_once(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """The plainest deadlock: one connection, and two at a time wanted."""
    pool = make_pool(observers=[recorder])
    assert await hold_one_and_ask(pool) == "deadlock"
    assert CLOCK.seconds - START <= SOON
    assert recorder.one(AcquireFailed).reason == "deadlock"
    assert pool.stats().failed["deadlock"] == 1


async def test_one_of_those_who_wait_for_each_other_is_told_and_the_others_go_on(make_pool: MakePool) -> None:
    """It gives its own connection up, which serves the next."""
    pool = make_pool(max_size=3)
    ended = await asyncio.gather(*(hold_one_and_ask(pool, pause=1) for _ in range(3)))
    assert sorted(ended) == ["deadlock", "served", "served"]
    assert CLOCK.seconds - START <= 1 + SOON


async def test_burst_connections_count_as_well(make_pool: MakePool) -> None:
    """It is the hard limit that leaves no room."""
    pool = make_pool(max_size=1, burst_limit=2)
    ended = await asyncio.gather(*(hold_one_and_ask(pool, pause=1) for _ in range(2)))
    assert sorted(ended) == ["deadlock", "served"]


async def test_error_names_those_who_wait_for_each_other(make_pool: MakePool) -> None:
    """It is a time-out for whoever handles one, and says what to do."""
    pool = make_pool(name="orders")
    with pytest.raises(PoolDeadlockError) as caught:
        async with pool.get_connection(), pool.get_connection():
            pass
    assert isinstance(caught.value, TimeoutError)
    (holder,) = caught.value.holders
    assert "test_error_names_those_who_wait_for_each_other" in holder.where[0]
    text = str(caught.value)
    assert text.startswith("pool 'orders': every connection is held by a task that waits for one more")
    assert "let burst_limit be larger" in text
    assert str(holder) in text


async def test_deadlock_through_context_managers_of_ones_own_is_told(make_pool: MakePool) -> None:
    """Generators keep what they have entered on their own stacks."""
    pool = make_pool()

    @asynccontextmanager
    async def connection() -> AsyncIterator[object]:
        async with pool.get_connection() as conn:
            yield conn

    @asynccontextmanager
    async def session() -> AsyncIterator[object]:
        async with connection() as conn:
            yield conn

    with pytest.raises(PoolDeadlockError):
        async with session(), connection():
            pass
    assert CLOCK.seconds - START <= SOON


async def test_deadlock_that_a_lowered_limit_closes_is_told(make_pool: MakePool) -> None:
    """The other connection comes back, and is one too many."""
    pool = make_pool(max_size=2)
    (busy,) = await callers(pool, 1)
    nested = asyncio.ensure_future(hold_one_and_ask(pool))
    await asyncio.sleep(1)
    pool.max_size = 1
    await asyncio.sleep(1)
    assert not nested.done()
    await busy.leave()
    assert await nested == "deadlock"
    assert CLOCK.seconds - START <= 2 + SOON


async def test_deadlock_is_told_when_the_creation_that_was_the_last_hope_fails(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Its slot is gone, for the limit has been lowered meanwhile."""
    pool = make_pool(max_size=2)
    first = asyncio.ensure_future(hold_one_and_ask(pool, pause=1))
    await asyncio.sleep(0.5)
    strategy.gate.clear()
    newcomer = asyncio.ensure_future(hold_one_and_ask(pool))
    await asyncio.sleep(1)
    pool.max_size = 1
    strategy.create_errors.append(OSError("refused"))
    strategy.gate.set()
    assert await first == "deadlock"
    with pytest.raises(OSError, match="refused"):
        await newcomer


async def test_who_would_give_up_first_is_told(make_pool: MakePool) -> None:
    """Nobody is told whom the patience of another would have saved."""
    pool = make_pool(max_size=2)
    hasty = hold_one_and_ask(pool, pause=1, timeout=0.5)
    patient = hold_one_and_ask(pool, pause=1, timeout=None)
    assert [*await asyncio.gather(hasty, patient)] == ["deadlock", "served"]


async def test_time_out_of_asyncio_counts_as_giving_up(make_pool: MakePool) -> None:
    """The first to be cancelled by its own `asyncio.timeout` is the one that is told."""
    pool = make_pool(max_size=2)

    async def within(seconds: float | None) -> str:
        try:
            async with asyncio.timeout(seconds):
                return await hold_one_and_ask(pool, pause=1)
        except TimeoutError:
            return "cancelled"

    assert [*await asyncio.gather(within(2), within(None))] == ["deadlock", "served"]
    assert [*await asyncio.gather(within(None), within(2))] == ["served", "deadlock"]


@pytest.mark.parametrize("scope", [anyio.move_on_after, anyio.fail_after])
async def test_time_out_of_anyio_counts_as_giving_up(
    make_pool: MakePool, scope: Callable[[float], AbstractContextManager[anyio.CancelScope]]
) -> None:
    """In services made with Starlette it is anyio's that cancels; nobody is told whom it would have saved."""
    pool = make_pool(max_size=2)

    async def within_a_scope() -> None:
        with scope(2):
            assert await hold_one_and_ask(pool, pause=1) == "deadlock"

    _, patient = await asyncio.gather(within_a_scope(), hold_one_and_ask(pool, pause=1, timeout=10))
    assert patient == "served"


# --- what is not


async def test_nobody_is_told_while_a_holder_does_something_else(make_pool: MakePool) -> None:
    """It will give its connection back."""
    pool = make_pool(max_size=2)
    (busy,) = await callers(pool, 1)
    nested = asyncio.ensure_future(hold_one_and_ask(pool))
    await asyncio.sleep(5)
    assert not nested.done()
    await busy.leave()
    assert await nested == "served"


async def test_nobody_is_told_while_a_connection_is_being_made(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """However long that takes."""
    pool = make_pool(max_size=2)
    nested = asyncio.ensure_future(hold_one_and_ask(pool, pause=1))
    await asyncio.sleep(0.5)
    strategy.gate.clear()
    await asyncio.sleep(5)
    assert not nested.done()
    strategy.gate.set()
    assert await nested == "served"


async def test_nobody_is_told_while_there_is_room_for_another_attempt(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """Connections arrive dead, and are made again after a pause."""
    pool = make_pool(max_size=2)
    nested = asyncio.ensure_future(hold_one_and_ask(pool, pause=1))
    await asyncio.sleep(0.5)
    strategy.arrive_dead = 8
    assert await nested == "served"
    assert CLOCK.seconds - START > 2


async def test_nobody_is_told_while_a_connection_is_being_closed(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Its slot will be free."""
    pool = make_pool(max_size=2)
    dirty, *_ = await callers(pool, 1)
    closed = asyncio.Event()
    strategy.closing = closed.wait  # type: ignore[assignment]  # what it returns is of no interest
    await dirty.cancel()
    nested = asyncio.ensure_future(hold_one_and_ask(pool))
    await asyncio.sleep(1)
    assert not nested.done()
    closed.set()
    assert await nested == "served"
    strategy.closing = None


async def test_nobody_is_told_where_another_may_give_the_connection_back(make_pool: MakePool) -> None:
    """An exit stack may be closed by whoever has it, and so this one is."""
    pool, stack = make_pool(), AsyncExitStack()

    async def enter_and_ask() -> str:
        await stack.enter_async_context(pool.get_connection())
        async with pool.get_connection():
            return "served"

    nested = asyncio.ensure_future(enter_and_ask())
    await asyncio.sleep(5)
    assert not nested.done()
    await stack.aclose()
    assert await nested == "served"


async def test_nobody_is_told_where_a_generator_holds_that_another_task_may_close(make_pool: MakePool) -> None:
    """Entered in one task and left in another, as some frameworks do."""
    pool = make_pool()

    async def dependency() -> AsyncIterator[object]:
        async with pool.get_connection() as conn:
            yield conn

    generator = dependency()

    async def enter_and_ask() -> str:
        await anext(generator)
        async with pool.get_connection():
            return "served"

    nested = asyncio.ensure_future(enter_and_ask())
    await asyncio.sleep(5)
    assert not nested.done()
    async with aclosing(generator):  # type: ignore[type-var]  # an async generator, as it happens
        pass
    assert await nested == "served"


async def test_two_pools_that_wait_for_each_other_are_not_recognized(make_pool: MakePool) -> None:
    """Each sees a holder that waits for something else; it is left to the time-out to say so."""
    first, second = make_pool(name="first"), make_pool(name="second", strategy=FakeStrategy())

    async def both(one: Pool, other: Pool) -> str:
        async with one.get_connection():
            await asyncio.sleep(1)
            try:
                async with other.get_connection(timeout=3):
                    return "served"
            except PoolDeadlockError:
                return "deadlock"
            except PoolTimeoutError:
                return "timeout"

    assert sorted(await asyncio.gather(both(first, second), both(second, first))) == ["timeout", "timeout"]


# --- any program: what is told is what would have been, and nothing that would have been is left untold

Way: TypeAlias = Literal["plain", "generator", "stack"]


@dataclass(frozen=True)
class Nest:
    """Sleep, then take a connection, and do the same within."""

    pause: int
    way: Way
    timeout: float | None
    within: "Nest | None"


@dataclass
class Log(Observer):
    """When each acquire started and ended, and how."""

    entries: list[tuple[float, int, str]] = field(default_factory=list)

    def on_acquire_started(self, event: AcquireStarted) -> None:
        self.entries.append((CLOCK.seconds, event.acquire_id, "started"))

    def on_acquired(self, event: Acquired) -> None:
        self.entries.append((CLOCK.seconds, event.acquire_id, "acquired"))

    def on_acquire_failed(self, event: AcquireFailed) -> None:
        self.entries.append((CLOCK.seconds, event.acquire_id, event.reason))


@asynccontextmanager
async def through_a_generator(pool: Pool, timeout: float | None) -> AsyncIterator[None]:
    async with pool.get_connection(timeout=timeout):
        yield


async def play(pool: Pool, nest: Nest | None) -> None:
    if nest is None:
        return
    await asyncio.sleep(nest.pause)
    async with AsyncExitStack() as stack:
        try:
            match nest.way:
                case "plain":
                    async with pool.get_connection(timeout=nest.timeout):
                        await play(pool, nest.within)
                case "generator":
                    async with through_a_generator(pool, nest.timeout):
                        await play(pool, nest.within)
                case "stack":
                    await stack.enter_async_context(pool.get_connection(timeout=nest.timeout))
                    await play(pool, nest.within)
        except PoolTimeoutError:
            pass


def nobody(*_: object) -> None:
    """Instead of `in_vain`: sees no deadlock."""


def run(size: int, nests: list[Nest], looking: bool) -> tuple[list[tuple[float, int, str]], bool]:
    """Run a task for each of `nests`; the log, and whether all have ended."""
    CLOCK.seconds = START
    log = Log()

    async def main() -> bool:
        pool = ConnectionPool(strategy=FakeStrategy(), max_size=size, observers=[log])
        tasks = [asyncio.ensure_future(play(pool, nest)) for nest in nests]
        _, pending = await asyncio.wait(tasks, timeout=AGES)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.close()
        return not pending

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        if not looking:
            patch.setattr(_pool, "in_vain", nobody)
        ended = runner.run(main())
    return log.entries, ended


def nests(ways: list[Way], timeouts: list[float | None]) -> "st.SearchStrategy[list[Nest]]":
    one = st.builds(Nest, st.integers(0, 2), st.sampled_from(ways), st.sampled_from(timeouts), st.none())
    nested = st.recursive(
        one,
        lambda within: st.builds(Nest, st.integers(0, 2), st.sampled_from(ways), st.sampled_from(timeouts), within),
        max_leaves=3,
    )
    return st.lists(nested, min_size=1, max_size=5)


RANDOM = settings(max_examples=100)


@RANDOM
@given(size=st.integers(1, 3), program=nests(["plain", "generator", "stack"], [None, 1.5, 3.25, 30.0]))
def test_whoever_is_told_would_have_given_up_before_anybody_was_served(size: int, program: list[Nest]) -> None:
    """Not one false alarm: untold, nobody is served any more until that very acquire times out, if it ever does."""
    told, _ = run(size, program, looking=True)
    first = next((number for number, (_, _, how) in enumerate(told) if how == "deadlock"), None)
    if first is None:
        return
    untold, ended = run(size, program, looking=False)
    before = [entry for entry in told[:first] if entry[2] != "started"]
    assert [entry for entry in untold if entry[2] != "started"][: len(before)] == before
    rest = [entry for entry in untold if entry[2] != "started"][len(before) :]
    until = next(
        (number for number, (_, who, how) in enumerate(rest) if (who, how) == (told[first][1], "timeout")), None
    )
    assert until is not None or not ended
    assert not [entry for entry in rest[:until] if entry[2] == "acquired"]


@RANDOM
@given(size=st.integers(1, 3), program=nests(["plain", "generator"], [None]))
def test_every_standstill_is_told(size: int, program: list[Nest]) -> None:
    """And at once: within a moment of an acquire that was queued."""
    _, ended = run(size, program, looking=False)
    told, all_ended = run(size, program, looking=True)
    assert all_ended
    alarms = [at for at, _, how in told if how == "deadlock"]
    assert bool(alarms) == (not ended)
    if alarms:
        assert any(at <= alarms[0] <= at + SOON for at, _, how in told if how == "started")
