"""The pool beside a model that predicts it: Hypothesis looks for what makes them differ.

Each rule does one thing to both, lets them come to rest, and compares who has what, who waits, how each call ended and
when, and every count. What happens between two steps is up to test_random.py, which can predict nothing, and to the
sweeps. Time is virtual and the choices are Hypothesis's own, so what fails once fails again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from math import inf
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from instrumented_pool import ConnectionPool, _pool
from instrumented_pool.testing import FakeConnection, FakeStrategy, Faults, FaultyObserver, RecordingObserver
from support.callers import Caller
from support.fakes import CarefulStrategy, Pool
from support.model import Error, Model, User
from support.virtual import CLOCK, START, VirtualLoop
from support.whole import assert_gone, assert_whole

CLOSE_TIMEOUT = 5.09  # seconds; like all durations here of an odd number, so that no two things are due at one moment
TIMEOUTS = st.sampled_from([None, None, 0, 0.51, 2.03, 10.11])
FICKLE = st.sampled_from([False, False, False, True])
ERRORS = st.sampled_from([None, ValueError])
ERRORS_OF_RESETS = st.sampled_from([None, OSError])
WHICH = st.integers(0, 7)


class Server(FakeStrategy):
    """Answers after two rounds of the loop, unless it hangs, which `gate` decides."""

    async def create_connection(self) -> FakeConnection:
        await self.gate.wait()
        await asyncio.sleep(0)
        return await super().create_connection()

    async def _close_slowly(self, conn: FakeConnection, count: int) -> None:
        await self.gate.wait()
        self._close(conn)


class CarefulServer(Server, CarefulStrategy):
    """Resets and answers looks, too, in as many rounds."""

    def __init__(self, *, check_after: float | None, reset_steps: int | None) -> None:
        super().__init__(check_after=check_after, reset_steps=reset_steps)
        self.reset_gate = self.check_gate = self.gate
        self.check_steps = 0


CAREFUL = st.builds(CarefulServer, check_after=st.sampled_from([3.17, None]), reset_steps=st.sampled_from([0, None]))


class PoolMachine(RuleBasedStateMachine):
    """Whatever is done is done to the pool and to the model, and when nothing goes on any more, both are compared."""

    pool: Pool
    model: Model

    def __init__(self) -> None:
        super().__init__()
        CLOCK.seconds = START
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self.loop.complain)
        self.server: Server = Server()
        self.recorder = RecordingObserver()
        self.hook_failures = 0
        self.faults = Faults(error=self.fail_hook)
        self.calls: dict[asyncio.Task[Any], User] = {}
        self.callers: dict[User, Caller] = {}
        self.ended_at: dict[asyncio.Task[Any], float] = {}
        self.last_total = 0
        # No jitter: the model would not know of it.
        self.jitter = patch.object(_pool, "random", SimpleNamespace(random=lambda: 0.0))
        self.jitter.start()

    def fail_hook(self, words: str) -> Exception:
        self.hook_failures += 1
        return ValueError(words)

    def do(self, real: Callable[[], object]) -> None:
        """Do it to the pool, and let both come to rest."""

        async def run() -> None:
            real()
            quiet = 0
            while quiet < 2:
                await asyncio.sleep(0)
                quiet = 0 if self.loop._ready else quiet + 1

        self.loop.run_until_complete(run())
        self.model.settle()

    def watch(self, user: User, task: "asyncio.Task[Any]") -> None:
        self.calls[task] = user
        task.add_done_callback(lambda task: self.ended_at.setdefault(task, CLOCK.seconds))

    def look(self) -> None:
        """Between any two steps: whole, and above the limit only where that was lowered; whoever is fickle goes."""
        assert_whole(self.pool, limit=max(self.pool.stats().limit, self.last_total))
        self.last_total = self.pool.stats().total
        served = {slot.lease.task for slot in self.pool._slots if slot.lease is not None}
        for user, caller in self.callers.items():
            if user.fickle and caller.waits and caller.task in served:
                caller.task.cancel()

    @initialize(
        max_size=st.integers(1, 3),
        more=st.none() | st.integers(0, 2),
        observed=st.booleans(),
        slow_close=st.booleans(),
        careful=st.none() | CAREFUL | CAREFUL,
        resets=st.lists(ERRORS_OF_RESETS, max_size=6),
        options=st.fixed_dictionaries(
            {},
            optional={
                "max_connecting": st.just(1),
                "max_waiting": st.integers(1, 6),
                "max_lifetime": st.just(20.3),
                "leak_after": st.just(4.07),
                "close_errors": st.just("observe"),
            },
        ),
        floor=st.sampled_from([{}, {"min_size": 1}, {"min_size": 2}, {"idle_timeout": 6.13}]),
    )
    def build(
        self,
        max_size: int,
        more: int | None,
        observed: bool,
        slow_close: bool,
        careful: CarefulServer | None,
        resets: list[type[Exception] | None],
        options: dict[str, Any],
        floor: dict[str, Any],
    ) -> None:
        self.server = careful or self.server
        self.server.close_steps = 0 if slow_close else None
        options |= {
            "max_size": (max_size := max(max_size, floor.get("min_size", 0))),
            "burst_limit": None if more is None else max_size + more,
            "close_timeout": CLOSE_TIMEOUT,
            **floor,
        }
        observers = [self.recorder, FaultyObserver(self.faults)] if observed else []
        self.pool = ConnectionPool(strategy=self.server, observers=observers, **options)
        self.model = Model(now=START, slow_close=slow_close, **options)
        if careful is not None:
            self.model.resets = "at once" if careful.reset_steps is None else "slowly"
            self.model.reset_fails.extend(resets)
            careful.reset_errors.extend(None if error is None else error() for error in resets)
            self.model.check_after = inf if careful.check_after is None else careful.check_after
        self.loop.between = self.look

    # ------------------------------------------------------------------ what callers do

    @rule(
        askers=st.lists(st.tuples(TIMEOUTS, FICKLE), max_size=4), leavers=st.lists(st.tuples(WHICH, ERRORS), max_size=4)
    )
    def come_and_go(
        self, askers: list[tuple[float | None, bool]], leavers: list[tuple[int, type[Exception] | None]]
    ) -> None:
        for timeout, fickle in askers:
            self.ask(timeout, fickle)
        for which, error in leavers:
            if self.model.lent:
                self.leave(which, error)

    def ask(self, timeout: float | None, fickle: bool) -> None:
        user = self.model.ask(timeout, fickle)

        def real() -> None:
            self.callers[user] = Caller(self.pool, timeout=timeout)
            self.watch(user, self.callers[user].task)

        self.do(real)

    def leave(self, which: int, error: type[Exception] | None) -> None:
        user = list(self.model.lent.values())[which % len(self.model.lent)]
        self.model.leave(user, error)
        self.do(lambda: self.callers[user].let_go(None if error is None else error()))

    @precondition(lambda self: any(not user.done for user in self.callers))
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        users = [user for user in self.callers if not user.done]
        user = users[which % len(users)]
        self.model.cancel(user)
        self.do(self.callers[user].task.cancel)

    # ------------------------------------------------------------------ what goes wrong

    @precondition(lambda self: not self.model.hangs)  # else all goes wrong already
    @rule(what=st.sampled_from(["creation", "cut off", "arrival", "close", "reset", "hook"]), which=WHICH)
    def bad_luck(self, what: str, which: int) -> None:
        if what in ("creation", "cut off"):
            error = OSError if what == "creation" else asyncio.CancelledError
            self.model.create_errors.append(error)
            self.server.create_errors.append(error())
        elif what == "arrival":
            self.model.arrive_dead = self.server.arrive_dead = 1
        elif what == "close":
            self.model.close_fails.append(OSError)
            self.server.close_errors.append(OSError())
        elif what == "reset":
            if isinstance(self.server, CarefulServer):
                self.model.reset_fails.append(OSError)
                self.server.reset_errors.append(OSError())
                self.model.close_fails.append(OSError)  # it is broken
                self.server.close_errors.append(OSError())
        else:
            self.faults.at = self.faults.calls.total() + which + 1

    @precondition(lambda self: not self.model.hangs)
    @rule()
    def server_hangs(self) -> None:
        self.model.hangs = True
        self.server.gate.clear()

    @precondition(lambda self: self.model.hangs)
    @rule()
    def server_recovers(self) -> None:
        self.model.recover()
        self.do(self.server.gate.set)

    @precondition(lambda self: self.model.idle or self.model.lent)
    @rule(which=WHICH)
    def connection_dies(self, which: int) -> None:
        conns = [*self.model.idle, *self.model.lent]
        conn = conns[which % len(conns)]
        conn.dead = self.server.created[conn.number - 1].dead = True

    @precondition(lambda self: self.model.check_after < inf and self.model.ready())
    @rule(which=WHICH)
    def other_side_goes_without_a_word(self, which: int) -> None:
        assert isinstance(self.server, CarefulServer)
        conn = self.model.ready()[which % len(self.model.ready())]
        conn.gone = True
        self.server.gone.add(self.server.created[conn.number - 1])

    # ------------------------------------------------------------------ what the owner does

    @rule()
    def clear(self) -> None:
        self.model.clear()
        self.do(self.pool.clear)

    @rule(max_size=st.integers(1, 4), more=st.none() | st.integers(0, 2))
    def resize(self, max_size: int, more: int | None) -> None:
        max_size = max(max_size, self.model.min_size)
        burst_limit = None if more is None else max_size + more
        for size, limit in ((self.model.max_size, None), (max_size, None), (max_size, burst_limit)):
            self.model.resize(size, limit)

        def real() -> None:
            self.pool.burst_limit = None
            self.pool.max_size = max_size
            self.pool.burst_limit = burst_limit

        self.do(real)

    @rule()
    def open(self) -> None:
        user = self.model.open()
        self.do(lambda: self.watch(user, asyncio.ensure_future(self.pool.open())))

    @precondition(lambda self: len(self.calls) > 20)  # late, for after it not much can happen
    @rule(timeout=st.sampled_from([0.57, 3.31]))
    def close(self, timeout: float) -> None:
        user = self.model.close(timeout)
        self.do(lambda: self.watch(user, asyncio.ensure_future(self.pool.close(timeout=timeout))))

    @rule(seconds=st.sampled_from([0.00571, 0.1133, 1.0177, 7.3039, 29.1013]))
    def time_passes(self, seconds: float) -> None:
        until = CLOCK.seconds + seconds
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.do(lambda: None)
        self.model.wait(until)

    # ------------------------------------------------------------------ and what comes of it

    @invariant()
    def both_agree(self) -> None:
        self.compare_calls()
        self.compare_counts()
        known = [conn.number for conn in self.model.ready()]
        assert [conn.number for conn in self.server.open] == sorted(known)

    def compare_calls(self) -> None:
        for task, user in self.calls.items():
            caller = self.callers.get(user)
            conn = None if caller is None or caller.conn is None else caller.conn.number
            assert (conn, task.done(), error_of(task)) == (user.conn and user.conn.number, user.done, user.error)
            assert abs(self.ended_at.get(task, 0.0) - user.ended_at) < 1e-6

    def compare_counts(self) -> None:
        stats, model = self.pool.stats(), self.model
        assert (stats.creating, stats.idle) == (len(model.creating), len(model.idle))
        in_use = len(model.ready()) - len(model.idle)
        assert (stats.in_use, stats.closing) == (in_use, len(model.closing))
        assert stats.waiting == len(model.queue)
        assert Counter[str](stats.acquired) == model.acquired
        assert Counter[str](stats.failed) == model.failed
        assert Counter[str](stats.closed) == model.left
        for name in ("acquires", "created", "create_errors", "close_errors", "bursts", "leaks_suspected"):
            assert getattr(stats, name) == model.counts[name], name
        assert stats.observer_errors == self.hook_failures

    def teardown(self) -> None:
        try:
            if hasattr(self, "pool"):
                self.end()
        finally:
            self.jitter.stop()
            self.loop.close()

    def end(self) -> None:
        """Close the pool, and let everybody go."""
        if self.model.hangs:
            self.server_recovers()
        self.close(0.57)
        while self.model.lent:
            self.leave(0, None)
        self.both_agree()
        self.loop.between = None
        assert_gone(self.pool, self.server, self.recorder if self.pool._bus.observers else None)
        assert not self.loop.complaints, self.loop.complaints


def error_of(task: "asyncio.Task[Any]") -> Error:
    if not task.done():
        return None
    if task.cancelled():
        return asyncio.CancelledError
    error = task.exception()
    return None if error is None else type(error)


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
