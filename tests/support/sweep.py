"""Disturb a scenario of the pool wherever that is possible, and look at the pool between all steps."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from instrumented_pool import ConnectionPool, PoolError
from instrumented_pool.testing import (
    FakeStrategy,
    Faults,
    FaultyObserver,
    FaultyStrategy,
    RecordingObserver,
    sweep_cancellations,
    sweep_faults,
)

from .fakes import Pool
from .virtual import CLOCK, START, VirtualLoop
from .whole import assert_gone, assert_whole


@dataclass
class Scene:
    """One run of a scenario.

    Attributes:
        faults: which call fails in this run.
        let_go: while it is clear, those who `hold` a connection keep it.
        lowered: as the scenario's.
    """

    pool: Pool
    strategy: FakeStrategy
    recorder: RecordingObserver
    faults: Faults
    lowered: int | None = None
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list)

    async def hold(self) -> None:
        """Borrow a connection until `let_go` is set."""
        async with self.pool.get_connection():
            await self.let_go.wait()

    async def use(self, steps: int = 2) -> None:
        """Borrow a connection for a few steps."""
        async with self.pool.get_connection():
            for _ in range(steps):
                await asyncio.sleep(0)

    def spawn(self, *coroutines: Any) -> None:
        """Run these beside the task that is disturbed; they are waited for in the end."""
        self.tasks += [asyncio.Task(coroutine) for coroutine in coroutines]


Act = Callable[[Scene], Coroutine[Any, Any, None]]
Faulty: TypeAlias = Literal["nothing", "strategy", "observer"]


async def nothing(scene: Scene) -> None:
    """No preparation."""


class HookError(Exception):
    """Of an observer: nobody may ever see it."""


@dataclass(frozen=True)
class Scenario:
    """What is disturbed.

    Attributes:
        act: the task that is cancelled; it may fail.
        before: run to its end first, undisturbed; may spawn others.
        options: of the pool, `max_size=1` if not given.
        strategy: makes the strategy.
        lowered: set where the scenario lowers the hard limit below the total, to what the total may then be.
    """

    act: Act
    before: Act = nothing
    options: dict[str, Any] = field(default_factory=dict)
    strategy: Callable[[], FakeStrategy] = FakeStrategy
    lowered: int | None = None

    async def set_up(self, observed: bool, faults: Faults | None = None, faulty: Faulty = "nothing") -> Scene:
        """Make the pool, of which a part may fail, and bring it into the state that matters."""
        strategy, recorder, faults = self.strategy(), RecordingObserver(), faults or Faults()
        options: dict[str, Any] = {"max_size": 1, **self.options}
        pool: Pool = ConnectionPool(
            strategy=FaultyStrategy(strategy, faults) if faulty == "strategy" else strategy,
            observers=[recorder] if observed else [],
            **options,
        )
        if faulty == "observer":
            pool.add_observer(FaultyObserver(faults))
        scene = Scene(pool, strategy, recorder, faults, self.lowered)
        await self.before(scene)
        return scene

    async def play(self, scene: Scene) -> None:
        """Act."""
        try:
            await self.act(scene)
        except Exception as error:
            if not may_be_raised(error):
                raise AssertionError(f"the caller was not to see {error!r}") from None

    async def play_to_the_end(self, scene: Scene) -> None:
        """Act, and close the pool."""
        await self.play(scene)
        await assert_nothing_left(scene)


def may_be_raised(error: BaseException | None) -> bool:
    """Whether a scenario may end so: as what is without a server or a connection, or was cut off, does."""
    return not isinstance(error, Exception) or isinstance(error, OSError | PoolError)


def cancel_everywhere(
    scenario: Scenario, *, observed: bool = True, eager: bool = False, repeatedly: bool = False
) -> int:
    """Cancel the task of `scenario` at each step until it ends by itself; how many steps that were."""
    return sweep_cancellations(
        scenario.play,
        setup=lambda: scenario.set_up(observed),
        check=assert_nothing_left,
        invariant=_assert_whole,
        repeatedly=repeatedly,
        timeout=AGES,
        loop_factory=lambda: _new_loop(eager),
    )


def fail_everywhere(
    scenario: Scenario,
    faulty: Faulty,
    error: Callable[[str], BaseException] = ConnectionError,
    *,
    observed: bool = True,
    eager: bool = False,
    prepare: Callable[[Faults], object] = lambda faults: None,
) -> int:
    """Let each call of what is `faulty`, or of what `prepare` is told of, fail in a run of its own; how many calls."""

    def set_up(faults: Faults) -> Coroutine[Any, Any, Scene]:
        prepare(faults)
        return scenario.set_up(observed, faults, faulty)

    return sweep_faults(
        scenario.play_to_the_end,
        setup=set_up,
        error=error,
        check=assert_nothing_left,
        invariant=_assert_whole,
        timeout=AGES,
        loop_factory=lambda: _new_loop(eager),
    )


AGES = 1e6  # virtual seconds: a run that stands still takes them in no time


def _new_loop(eager: bool) -> VirtualLoop:
    CLOCK.seconds = START
    loop = VirtualLoop()
    if eager and sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop


def _assert_whole(scene: Scene) -> None:
    assert_whole(scene.pool, limit=scene.lowered)


async def assert_nothing_left(scene: Scene) -> None:
    """Let everybody go, close the pool, and see that nothing is left of it."""
    scene.let_go.set()
    scene.strategy.gate.set()
    if scene.tasks:
        await asyncio.wait(scene.tasks)
    _assert_idle_again(scene.pool)
    closing = asyncio.Task(_close(scene.pool))
    await asyncio.wait({closing})
    for ended in (closing, *scene.tasks):
        assert ended.cancelled() or may_be_raised(ended.exception()), f"a caller was not to see {ended.exception()!r}"
    assert_gone(scene.pool, scene.strategy, scene.recorder if scene.recorder.events else None)
    assert scene.pool.stats().observer_errors == isinstance(scene.faults.raised, HookError)


async def _close(pool: Pool) -> None:
    """Close the pool, once more where what was raised on purpose came out of it."""
    try:
        await pool.close(timeout=60)
    except BaseException:
        await pool.close(timeout=60)
        raise


def _assert_idle_again(pool: Pool) -> None:
    """Nothing is lent, nobody waits, and each slot that is taken is on its way in or out, or is looked at."""
    stats = pool.stats()
    assert (stats.in_use - len(pool._checking), stats.waiting) == (0, 0), repr(pool)
