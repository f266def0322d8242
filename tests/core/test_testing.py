"""`instrumented_pool.testing`: what it says of code that is right, and of code that is not."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from instrumented_pool import Closed, CloseError, ConnectionPool, Created, CreateFailed
from instrumented_pool.testing import (
    ChaosError,
    ChaosStrategy,
    FakeConnection,
    FakeStrategy,
    Faults,
    FaultyObserver,
    FaultyStrategy,
    RecordingObserver,
    SweepError,
    SweepFailure,
    sweep_cancellations,
    sweep_faults,
)
from support.fakes import MakePool, Pool
from support.virtual import CLOCK, START, VirtualLoop

Scenario = Callable[[], Coroutine[Any, Any, None]]


def failures_of(scenario: Scenario, **options: Any) -> tuple[SweepFailure, ...]:
    with pytest.raises(SweepError) as caught:
        sweep_cancellations(scenario, loop_factory=VirtualLoop, **options)
    return caught.value.failures


# --- sweep_cancellations


def test_sweep_cancels_before_each_step() -> None:
    """Undisturbed, before the first step, between any two, and then it is over."""
    reached: list[int] = []

    async def three_steps() -> None:
        for step in range(3):
            reached.append(step)
            await asyncio.sleep(0)
        reached.append(3)

    assert sweep_cancellations(three_steps) == 4
    assert reached == [0, 1, 2, 3, *[0], *[0, 1], *[0, 1, 2], *[0, 1, 2, 3]]


def test_repeated_sweep_cancels_the_way_out_too() -> None:
    """A clean-up that awaits is cut off, as by an impatient shutdown."""
    ends: list[str] = []

    async def cleans_up() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            ends.append("cleaned up")

    sweep_cancellations(cleans_up)
    once = len(ends)
    sweep_cancellations(cleans_up, repeatedly=True)
    assert len(ends) - once < once


def test_sweep_says_at_which_step_and_where() -> None:
    """A lock taken by hand and not given back by whoever is cancelled."""
    locks: list[asyncio.Lock] = []

    async def careless() -> None:
        locks.append(asyncio.Lock())
        await locks[-1].acquire()
        await asyncio.sleep(0)
        locks[-1].release()

    async def is_free() -> None:
        assert not (locks and locks[-1].locked()), "still locked"

    (failure,) = failures_of(careless, check=is_free)
    assert failure.step == 1
    assert "careless (core/test_testing.py:" in failure.where[0]
    assert str(failure).startswith("cancelled at step 1, in ")
    assert "AssertionError: still locked" in str(failure)


def test_scenario_that_fails_undisturbed_is_not_cancelled() -> None:
    """It is the scenario that has to be mended."""

    async def broken() -> None:
        raise OSError("refused")

    (failure,) = failures_of(broken)
    assert (failure.step, str(failure)) == (None, "undisturbed: OSError: refused")


def test_scenario_that_swallows_its_cancellation_and_stays_is_a_failure() -> None:
    """After the time-out, with the place where it is."""

    async def deaf() -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    failure, *_ = failures_of(deaf)
    assert failure.step == 1
    assert "the scenario does not end within 5.0 s: " in str(failure)


def test_check_that_is_cut_short_is_a_failure() -> None:
    """It awaits a task that was cancelled, and what it would have looked at then is not known."""
    tasks: list[asyncio.Task[None]] = []

    async def scenario() -> None:
        tasks.append(asyncio.ensure_future(asyncio.sleep(0)))
        await tasks[-1]

    async def check() -> None:
        if tasks:
            await tasks[-1]

    failure, *_ = failures_of(scenario, check=check)
    assert "the check did not get to its end" in str(failure)


def test_task_left_behind_is_a_failure() -> None:
    """One that would go on for ever."""
    tasks: list[asyncio.Task[object]] = []

    async def forgetful() -> None:
        tasks.append(asyncio.ensure_future(asyncio.Event().wait()))
        await asyncio.sleep(0)
        tasks.pop().cancel()

    failure, *_ = failures_of(forgetful)
    assert "a task that was left behind does not end" in str(failure)


def test_error_that_only_asyncio_would_have_logged_is_a_failure() -> None:
    """An exception in a callback, which no task ever sees."""

    async def careless() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    assert "asyncio complained: " in str(failures_of(careless)[0])


def test_invariant_is_asked_before_each_step() -> None:
    """What is broken only for a moment is found."""
    balance = [0]

    async def transfer() -> None:
        balance[0] -= 1
        await asyncio.sleep(0)
        balance[0] += 1

    def nothing_is_missing() -> None:
        assert balance[0] == 0, "on its way"

    assert "on its way" in str(failures_of(transfer, invariant=nothing_is_missing)[0])


def test_hot_loop_is_a_failure() -> None:
    """Steps without end, in no time."""

    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    assert "does not end within 100 steps" in str(failures_of(busy, max_steps=100)[0])


async def test_sweep_is_refused_within_a_running_loop() -> None:
    """It runs loops of its own."""

    async def scenario() -> None:
        raise NotImplementedError

    with pytest.raises(RuntimeError, match="call it from a plain function"):
        sweep_cancellations(scenario)


# --- sweep_faults


async def all_of(faults: Faults) -> Faults:
    """For scenarios that call `may_fail` themselves."""
    return faults


def faults_found(scenario: Callable[[Faults], Coroutine[Any, Any, object]], **options: Any) -> tuple[SweepFailure, ...]:
    with pytest.raises(SweepError) as caught:
        sweep_faults(scenario, setup=all_of, loop_factory=VirtualLoop, **options)
    return caught.value.failures


def test_sweep_fails_each_call_once() -> None:
    """Undisturbed, with the first failing, with the second, and with none left to fail."""
    reached: list[str] = []

    async def two_calls(faults: Faults) -> None:
        for name in ("first", "second"):
            reached.append(name)
            faults.may_fail(name)

    assert sweep_faults(two_calls, setup=all_of) == 2
    assert reached == ["first", "second", "first", "first", "second", "first", "second"]


def test_sweep_fails_each_call_of_a_strategy_and_each_event() -> None:
    """One acquire: a creation, its check, a body that fails, a reset, a close; and twelve events."""
    calls: dict[str, int] = {}

    async def setup(faults: Faults) -> tuple[Faults, Pool]:
        strategy = FaultyStrategy(FakeStrategy(close_steps=1), faults)
        return faults, ConnectionPool(strategy=strategy, max_size=1, observers=[FaultyObserver(faults)])

    async def scenario(subject: tuple[Faults, Pool]) -> None:
        faults, pool = subject
        async with pool:
            try:
                async with pool.get_connection():
                    raise KeyError("of the body")
            except KeyError:
                pass
        if faults.failed is None:
            calls.update(faults.calls)

    assert sweep_faults(scenario, setup=setup, loop_factory=VirtualLoop) == sum(calls.values())
    assert {name: count for name, count in calls.items() if not name.startswith("on_")} == {
        "create_connection": 1,
        "connection_is_closed": 1,
        "connection_is_reusable": 1,
        "reset_connection": 1,
        "close_connection": 1,
    }
    assert calls["on_acquired"] == calls["on_released"] == calls["on_closed"] == 1


def test_sweep_says_which_call_failed_and_where() -> None:
    """A balance that is not put right."""
    balance = [0]

    async def careless(faults: Faults) -> None:
        balance[0] = 1
        faults.may_fail("pay")
        faults.may_fail("pay")
        balance[0] = 0

    async def is_even(faults: Faults) -> None:
        assert not balance[0], "out of balance"

    first, second = faults_found(careless, check=is_even)
    assert (first.step, second.step) == (1, 2)
    assert (first.what, second.what) == ("call 1 of pay failed", "call 2 of pay failed")
    assert len(second.where) == 1
    assert ".careless (core/test_testing.py:" in second.where[0]
    assert str(second).startswith(f"call 2 of pay failed, in {second.where[0]}: ")
    assert "AssertionError: out of balance" in str(second)


@pytest.mark.parametrize("grouped", [True, False])
def test_error_that_was_raised_from_the_fault_is_none_of_the_scenarios(grouped: bool) -> None:
    """It is how a layer speaks of what is below."""

    async def translates(faults: Faults) -> None:
        try:
            faults.may_fail("pay")
        except ConnectionError as error:
            raise (ExceptionGroup("unpaid", [error]) if grouped else LookupError("unpaid")) from error

    assert sweep_faults(translates, setup=all_of) == 1


def test_error_in_the_handling_of_a_fault_is_a_failure() -> None:
    """Which is where nobody ever looks."""

    async def clumsy(faults: Faults) -> None:
        orders: dict[str, int] = {}
        try:
            faults.may_fail("pay")
        except ConnectionError:
            del orders["paid"]

    (failure,) = faults_found(clumsy)
    assert isinstance(failure.error, KeyError)


def test_nothing_fails_before_and_after_the_scenario_and_in_the_invariant() -> None:
    """Neither does it count."""

    async def setup(faults: Faults) -> Faults:
        faults.may_fail("setup")
        return faults

    async def scenario(faults: Faults) -> None:
        await asyncio.sleep(0)
        faults.may_fail("pay")

    async def check(faults: Faults) -> None:
        faults.may_fail("check")
        assert set(faults.calls) == {"pay"}

    calls = sweep_faults(scenario, setup=setup, check=check, invariant=lambda faults: faults.may_fail("invariant"))
    assert calls == 1


def test_interrupt_leaves_the_loop_and_the_check_comes_all_the_same() -> None:
    """As it would leave `asyncio.run`."""
    checked: list[str | None] = []

    async def pays(faults: Faults) -> None:
        faults.may_fail("pay")

    async def check(faults: Faults) -> None:
        checked.append(faults.failed)

    assert sweep_faults(pays, setup=all_of, error=KeyboardInterrupt, check=check) == 1
    assert checked == [None, "call 1 of pay", None]


def test_swallowed_interrupt_is_a_failure() -> None:
    """The user would have to press Ctrl-C again."""

    async def deaf(faults: Faults) -> None:
        try:
            faults.may_fail("pay")
        except BaseException:
            await asyncio.sleep(0)

    (failure,) = faults_found(deaf, error=KeyboardInterrupt)
    assert "the interrupt was swallowed" in str(failure)


def test_interrupt_that_is_no_fault_ends_the_sweep() -> None:
    """Somebody did press Ctrl-C."""

    async def interrupted(faults: Faults) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_faults(interrupted, setup=all_of)


# --- RecordingObserver


async def test_recording_observer_tells_the_pools_apart(strategy: FakeStrategy, recorder: RecordingObserver) -> None:
    """Identifiers are unique within a pool only."""
    for _ in range(2):
        async with ConnectionPool(strategy=strategy, max_size=1, observers=[recorder]) as pool, pool.get_connection():
            pass
    recorder.assert_paired()
    assert len(recorder.of(Created)) == 2


async def test_recording_observer_misses_the_end_of_what_has_begun(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """A connection that is still open is a start without an end."""
    async with make_pool(observers=[recorder]).get_connection():
        with pytest.raises(AssertionError, match="no end"):
            recorder.assert_paired()


# --- ChaosStrategy


async def test_slow_connect_takes_its_time(strategy: FakeStrategy) -> None:
    """Seconds, at most what was asked for."""
    chaos = ChaosStrategy(strategy, connect_delay=3.0)
    async with ConnectionPool(strategy=chaos, max_size=1) as pool, pool.get_connection():
        pass
    assert 0 < CLOCK.seconds - START <= 3


async def test_failing_connect_is_raised_to_the_caller(strategy: FakeStrategy, recorder: RecordingObserver) -> None:
    """Before anything is connected."""
    chaos = ChaosStrategy(strategy, connect_failures=1.0)
    async with ConnectionPool(strategy=chaos, max_size=1, observers=[recorder]) as pool:
        with pytest.raises(ChaosError):
            await pool.get_connection().__aenter__()
    assert isinstance(recorder.one(CreateFailed).error, ChaosError)
    assert not strategy.created


async def test_connections_dead_on_arrival_are_closed_and_made_again(strategy: FakeStrategy) -> None:
    """Until the network is better."""
    chaos = ChaosStrategy(strategy, dead_on_arrival=1.0)
    async with ConnectionPool(strategy=chaos, max_size=1) as pool:
        asyncio.get_running_loop().call_later(0.5, setattr, chaos, "dead_on_arrival", 0.0)
        async with pool.get_connection() as conn:
            assert conn.number == chaos.inflicted["dead_on_arrival"] + 1 > 1
    assert not strategy.open


async def test_raising_check_costs_the_connection(strategy: FakeStrategy, recorder: RecordingObserver) -> None:
    """And never the caller."""
    chaos = ChaosStrategy(strategy)
    async with ConnectionPool(strategy=chaos, max_size=1, observers=[recorder]) as pool:
        async with pool.get_connection():
            pass
        chaos.check_failures = 0.5
        for _ in range(20):
            async with pool.get_connection():
                pass
    assert chaos.inflicted["check_failures"] > 1
    assert [closed.reason for closed in recorder.of(Closed)].count("stale") > 1


@pytest.mark.parametrize("close_steps", [None, 2])
async def test_hung_close_ends_with_the_close_timeout(recorder: RecordingObserver, close_steps: int | None) -> None:
    """The pool gives it up; what is really behind it was closed."""
    strategy = FakeStrategy(close_steps=close_steps)
    chaos = ChaosStrategy(strategy, hung_closes=1.0)
    pool = ConnectionPool(strategy=chaos, max_size=1, close_timeout=2.0, observers=[recorder])
    async with pool.get_connection():
        pass
    await pool.close()
    assert isinstance(recorder.one(CloseError).error, TimeoutError)
    assert strategy.closed == strategy.created
    recorder.assert_paired()


async def test_chaos_of_one_seed_is_always_the_same() -> None:
    """So that a failure can be seen again; another kind of fault does not change it."""

    async def refused(**faults: float) -> list[bool]:
        chaos = ChaosStrategy(FakeStrategy(), seed=7, connect_failures=0.5, **faults)
        return [await is_refused(chaos) for _ in range(20)]

    async def is_refused(chaos: ChaosStrategy[FakeConnection]) -> bool:
        try:
            await chaos.create_connection()
        except ChaosError:
            return True
        return False

    assert True in (first := await refused())
    assert False in first
    assert first == await refused(connect_delay=1.0, dead_on_arrival=0.5)


async def test_share_above_one_is_refused(strategy: FakeStrategy) -> None:
    """Per cent, perhaps."""
    with pytest.raises(ValueError, match="connect_failures must be a share from 0 to 1, got 50"):
        await ChaosStrategy(strategy, connect_failures=50).create_connection()


def test_chaos_leaves_it_to_the_strategy_what_is_reusable(strategy: FakeStrategy) -> None:
    """It may know better than the default."""
    ChaosStrategy(strategy).connection_is_reusable(FakeConnection(1), OSError())
    assert strategy.calls["connection_is_reusable"] == 1
