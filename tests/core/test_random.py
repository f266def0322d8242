"""Whatever happens between whichever steps, the pool stays whole: Hypothesis looks for the order in which it does not.

What the outcome should be is known only where the pool has come to rest, and compared in test_model.py.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import FakeStrategy, Faults, FaultyObserver, RecordingObserver
from support.callers import Caller, leave_all
from support.fakes import CarefulStrategy, Pool
from support.virtual import CLOCK, START, VirtualLoop, steps
from support.whole import assert_gone, assert_whole

WHICH = st.integers(0, 7)
STEPS = st.integers(0, 4)


class PoolMachine(RuleBasedStateMachine):
    """A pool, its callers, its server and its owner, each doing something at any time."""

    pool: Pool

    def __init__(self) -> None:
        super().__init__()
        CLOCK.seconds = START
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self.loop.complain)
        self.strategy: FakeStrategy = FakeStrategy()
        self.recorder, self.faults = RecordingObserver(), Faults()
        self.callers: list[Caller] = []
        self.last_total = 0

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run the loop until `coroutine` is over."""
        self.loop.run_until_complete(coroutine)

    def look(self) -> None:
        """Between any two steps: whole, and above the limit only where that was lowered."""
        assert_whole(self.pool, limit=max(self.pool.stats().limit, self.last_total))
        self.last_total = self.pool.stats().total

    @initialize(
        max_size=st.integers(1, 3),
        more=st.none() | st.integers(0, 2),
        observed=st.booleans(),
        close_steps=st.none() | st.integers(0, 3),
        create_steps=st.integers(0, 3),
        careful=st.none() | st.builds(CarefulStrategy, check_after=st.none() | st.just(4.0), reset_steps=STEPS),
        options=st.fixed_dictionaries(
            {},
            optional={
                "min_size": st.just(1),
                "max_connecting": st.just(1),
                "max_waiting": st.integers(0, 3),
                "max_lifetime": st.just(20.0),
                "idle_timeout": st.just(5.0),
                "leak_after": st.just(3.0),
                "close_errors": st.just("observe"),
            },
        ),
    )
    def build(
        self,
        max_size: int,
        more: int | None,
        observed: bool,
        close_steps: int | None,
        create_steps: int,
        careful: CarefulStrategy | None,
        options: dict[str, Any],
    ) -> None:
        self.strategy = careful or self.strategy
        self.strategy.close_steps, self.strategy.create_steps = close_steps, create_steps
        self.pool = ConnectionPool(
            strategy=self.strategy,
            max_size=max_size,
            burst_limit=None if more is None else max_size + more,
            acquire_timeout=10.0,
            observers=[self.recorder, FaultyObserver(self.faults)] if observed else [],
            **options,
        )
        self.loop.between = self.look

    @rule(timeout=st.sampled_from([None, 0, 0.5, 2.0, 10.0]), count=STEPS)
    def ask(self, timeout: float | None, count: int) -> None:
        async def run() -> None:
            self.callers.append(Caller(self.pool, timeout=timeout))
            await steps(count)

        self.do(run())

    @rule(count=st.integers(0, 6))
    def go_on(self, count: int) -> None:
        self.do(steps(count))

    @rule(seconds=st.sampled_from([0.005, 0.1, 1.0, 7.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @precondition(lambda self: self.callers)
    @rule(which=WHICH, error=st.sampled_from([None, ValueError()]), count=STEPS)
    def leave(self, which: int, error: Exception | None, count: int) -> None:
        caller = self.callers.pop(which % len(self.callers))
        caller.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        caller.let_go(error)
        self.do(steps(count))

    @precondition(lambda self: self.callers)
    @rule(which=WHICH, count=STEPS)
    def cancel(self, which: int, count: int) -> None:
        caller = self.callers.pop(which % len(self.callers))
        caller.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        caller.task.cancel()
        self.do(steps(count))

    @precondition(lambda self: self.strategy.created)
    @rule(which=WHICH)
    def connection_dies(self, which: int) -> None:
        self.strategy.created[-1 - which % len(self.strategy.created)].dead = True

    @rule(error=st.sampled_from([OSError("refused"), asyncio.CancelledError()]))
    def next_creation_fails(self, error: BaseException) -> None:
        self.strategy.create_errors.append(error)

    @rule()
    def next_connection_arrives_dead(self) -> None:
        self.strategy.arrive_dead = 1

    @rule()
    def next_close_fails(self) -> None:
        self.strategy.close_errors.append(OSError("broken pipe"))

    @rule()
    def next_reset_fails(self) -> None:
        if isinstance(self.strategy, CarefulStrategy):
            self.strategy.reset_errors.append(OSError("broken pipe"))

    @precondition(lambda self: self.strategy.created)
    @rule(which=WHICH)
    def other_side_goes_without_a_word(self, which: int) -> None:
        if isinstance(self.strategy, CarefulStrategy):
            self.strategy.gone.add(self.strategy.created[-1 - which % len(self.strategy.created)])

    @rule()
    def server_hangs_or_recovers(self) -> None:
        if self.strategy.gate.is_set():
            self.strategy.gate.clear()
        else:
            self.do(self.recover())

    async def recover(self) -> None:
        self.strategy.gate.set()

    @rule()
    def clear(self) -> None:
        async def run() -> None:
            self.pool.clear()

        self.do(run())

    @rule(max_size=st.integers(1, 4), more=st.none() | st.integers(0, 2))
    def resize(self, max_size: int, more: int | None) -> None:
        async def run() -> None:
            self.pool.burst_limit = None
            self.pool.max_size = max_size
            self.pool.burst_limit = None if more is None else max_size + more

        self.do(run())

    @rule(events=st.integers(1, 5))
    def an_observer_fails(self, events: int) -> None:
        self.faults.at = self.faults.calls.total() + events

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            self.loop.close()
            return

        async def end() -> None:
            self.strategy.gate.set()
            await leave_all(*self.callers)
            await steps()
            await self.pool.close(timeout=60)

        self.do(end())
        self.loop.between = None
        observed = self.recorder if self.pool._bus.observers else None
        assert_gone(self.pool, self.strategy, observed)
        self.do(steps())
        self.loop.close()
        assert not self.loop.complaints, self.loop.complaints


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
