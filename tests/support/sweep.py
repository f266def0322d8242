"""Run a scenario again and again, each time disturbing it one step later, and look at the pool between all steps."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from instrumented_pool import ConnectionPool

from .fakes import FakeStrategy, Pool
from .recorder import Recorder
from .virtual import CLOCK, START, VirtualLoop, drive
from .whole import assert_gone, assert_whole

_TOO_MANY = 2000  # steps; no scenario here is as long


@dataclass
class Scene:
    """One run of a scenario.

    Attributes:
        let_go: while it is clear, those who `hold` a connection keep it.
    """

    pool: Pool
    strategy: FakeStrategy
    recorder: Recorder
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list["asyncio.Task[Any]"] = field(default_factory=list)
    allowed: int | None = None

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


async def nothing(scene: Scene) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Scenario:
    """What is disturbed.

    Attributes:
        act: the task that is cancelled.
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


Disturb = Callable[[int, Scene, "asyncio.Task[None]"], bool]
"""Called before each step of the loop with its number; True once it has done its work."""


def cancel_at(step: int) -> Disturb:
    """Cancel the task before the `step`-th callback of the loop."""

    def disturb(now: int, scene: Scene, task: "asyncio.Task[None]") -> bool:
        return now == step and task.cancel()

    return disturb


def cancel_from(step: int) -> Disturb:
    """Cancel the task before the `step`-th callback and before each that follows."""

    def disturb(now: int, scene: Scene, task: "asyncio.Task[None]") -> bool:
        if now >= step:
            task.cancel()
        return False

    return disturb


def fail_strategy(method: str, call: int, error: BaseException) -> Callable[[Scene], None]:
    """Let the `call`-th call of `method`, from now on, raise `error`."""

    def prepare(scene: Scene) -> None:
        scene.strategy.faults[method, scene.strategy.calls[method] + call] = error

    return prepare


def never(now: int, scene: Scene, task: "asyncio.Task[None]") -> bool:
    """Only look."""
    return False


def run(
    scenario: Scenario,
    disturb: Disturb = never,
    *,
    prepare: Callable[[Scene], None] | None = None,
    observed: bool = True,
    eager: bool = False,
) -> tuple[bool, list[BaseException]]:
    """Run `scenario` once on a loop of its own; whether it was disturbed, and what escaped from the loop."""
    CLOCK.seconds = START
    loop = VirtualLoop()
    loop.set_exception_handler(loop.complain)
    if eager and sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    asyncio.set_event_loop(loop)
    try:
        disturbed, escaped = drive(loop, _play(loop, scenario, disturb, prepare, observed))
        gc.collect(0)
        # An eager task that ends with an interrupt is gone before anybody could be given it.
        complaints = [text for text in loop.complaints if not (eager and "KeyboardInterrupt" in text)]
        assert not complaints, complaints
        return disturbed, escaped
    finally:
        loop.between = None
        asyncio.set_event_loop(None)
        loop.close()


async def _play(
    loop: VirtualLoop,
    scenario: Scenario,
    disturb: Disturb,
    prepare: Callable[[Scene], None] | None,
    observed: bool,
) -> bool:
    strategy, recorder = scenario.strategy(), Recorder()
    options: dict[str, Any] = {"max_size": 1, "observers": [recorder] if observed else [], **scenario.options}
    pool: Pool = ConnectionPool(strategy=strategy, **options)
    scene = Scene(pool, strategy, recorder)
    await scenario.before(scene)
    if prepare is not None:
        prepare(scene)
    task = asyncio.Task(scenario.act(scene))
    disturbed = _watch(loop, scenario, scene, disturb, task)
    try:
        await asyncio.wait({task})
        scene.let_go.set()
        strategy.gate.set()
        if scene.tasks:
            await asyncio.wait(scene.tasks)
        _assert_idle_again(pool)
        closing = asyncio.Task(_close(pool))
        await asyncio.wait({closing})
    finally:
        loop.between = None
    for ended in (task, closing, *scene.tasks):
        if not ended.cancelled():
            ended.exception()  # retrieved: a scenario may fail
    assert_gone(pool, strategy, recorder if observed else None)
    assert pool.stats().observer_errors == sum(isinstance(e, Exception) for e in _raised(recorder))
    return bool(disturbed)


async def _close(pool: Pool) -> None:
    """Close the pool, once more where what was raised on purpose came out of it."""
    try:
        await pool.close(timeout=60)
    except BaseException:
        await pool.close(timeout=60)
        raise


def _raised(recorder: Recorder) -> list[BaseException]:
    return [error for number, error in recorder.raises.items() if number <= len(recorder.events)]


def _watch(
    loop: VirtualLoop, scenario: Scenario, scene: Scene, disturb: Disturb, task: "asyncio.Task[None]"
) -> list[int]:
    numbers, done = count(), list[int]()

    def look() -> None:
        assert_whole(scene.pool, limit=scenario.lowered)
        number = next(numbers)
        assert number < _TOO_MANY, "the scenario does not end"
        if not done and disturb(number, scene, task):
            done.append(number)

    loop.between = look
    return done


def _assert_idle_again(pool: Pool) -> None:
    """Nothing is lent, nobody waits, and each slot that is taken is on its way in or out."""
    stats = pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0), repr(pool)


def cancel_everywhere(scenario: Scenario, *, observed: bool = True, eager: bool = False) -> int:
    """Cancel the task of `scenario` at each step until it ends by itself; how many steps that were."""
    for step in count():
        disturbed, escaped = run(scenario, cancel_at(step), observed=observed, eager=eager)
        assert not escaped
        if not disturbed:
            return step
    raise AssertionError
