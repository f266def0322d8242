"""Run a scenario of the pool, disturb it, and look at the pool between all steps."""

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import FakeStrategy, RecordingObserver, sweep_cancellations
from instrumented_pool.testing._sweep import Sweep

from .fakes import Pool
from .virtual import CLOCK, START, VirtualLoop, drive
from .whole import assert_gone, assert_whole


@dataclass
class Scene:
    """One run of a scenario.

    Attributes:
        let_go: while it is clear, those who `hold` a connection keep it.
        lowered: as the scenario's.
    """

    pool: Pool
    strategy: FakeStrategy
    recorder: RecordingObserver
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


async def nothing(scene: Scene) -> None:
    """No preparation."""


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

    async def set_up(self, observed: bool) -> Scene:
        """Make the pool, and bring it into the state that matters."""
        strategy, recorder = self.strategy(), RecordingObserver()
        options: dict[str, Any] = {"max_size": 1, "observers": [recorder] if observed else [], **self.options}
        scene = Scene(ConnectionPool(strategy=strategy, **options), strategy, recorder, self.lowered)
        await self.before(scene)
        return scene

    async def play(self, scene: Scene) -> None:
        """Act."""
        with suppress(Exception):
            await self.act(scene)


def fail_strategy(method: str, call: int, error: BaseException) -> Callable[[Scene], None]:
    """Let the `call`-th call of `method`, from now on, raise `error`."""

    def prepare(scene: Scene) -> None:
        scene.strategy.faults[method, scene.strategy.calls[method] + call] = error

    return prepare


def cancel_everywhere(
    scenario: Scenario, *, observed: bool = True, eager: bool = False, repeatedly: bool = False
) -> int:
    """Cancel the task of `scenario` at each step until it ends by itself; how many steps that were."""
    return sweep_cancellations(
        scenario.play,
        setup=lambda: scenario.set_up(observed),
        check=_assert_nothing_left,
        invariant=_assert_whole,
        repeatedly=repeatedly,
        timeout=_AGES,
        loop_factory=lambda: _new_loop(eager),
    )


def run(
    scenario: Scenario,
    *,
    prepare: Callable[[Scene], None] = lambda scene: None,
    observed: bool = True,
    eager: bool = False,
) -> list[BaseException]:
    """Run `scenario` once on a loop of its own, with what `prepare` put in its way; what escaped from the loop."""

    async def set_up() -> Scene:
        scene = await scenario.set_up(observed)
        prepare(scene)
        return scene

    loop = _new_loop(eager)
    loop.set_exception_handler(loop.complain)
    asyncio.set_event_loop(loop)
    try:
        sweep = Sweep(scenario.play, set_up, _assert_nothing_left, _assert_whole, False, _AGES, 2000)
        _, escaped = drive(loop, sweep.play(loop, None))
        gc.collect(0)
        # An eager task that ends with an interrupt is gone before anybody could be given it.
        complaints = [text for text in loop.complaints if not (eager and "KeyboardInterrupt" in text)]
        assert not complaints, complaints
        return escaped
    finally:
        loop.between = None
        asyncio.set_event_loop(None)
        loop.close()


_AGES = 1e6  # virtual seconds: a run that stands still takes them in no time


def _new_loop(eager: bool) -> VirtualLoop:
    CLOCK.seconds = START
    loop = VirtualLoop()
    if eager and sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop


def _assert_whole(scene: Scene) -> None:
    assert_whole(scene.pool, limit=scene.lowered)


async def _assert_nothing_left(scene: Scene) -> None:
    """Let everybody go, close the pool, and see that nothing is left of it."""
    scene.let_go.set()
    scene.strategy.gate.set()
    if scene.tasks:
        await asyncio.wait(scene.tasks)
    _assert_idle_again(scene.pool)
    closing = asyncio.Task(_close(scene.pool))
    await asyncio.wait({closing})
    for ended in (closing, *scene.tasks):
        if not ended.cancelled():
            ended.exception()  # retrieved: a scenario may fail
    recorder = scene.recorder
    assert_gone(scene.pool, scene.strategy, recorder if recorder.events else None)
    assert scene.pool.stats().observer_errors == sum(isinstance(e, Exception) for e in _raised(recorder))


async def _close(pool: Pool) -> None:
    """Close the pool, once more where what was raised on purpose came out of it."""
    try:
        await pool.close(timeout=60)
    except BaseException:
        await pool.close(timeout=60)
        raise


def _raised(recorder: RecordingObserver) -> list[BaseException]:
    return [error for number, error in recorder.raises.items() if number <= len(recorder.events)]


def _assert_idle_again(pool: Pool) -> None:
    """Nothing is lent, nobody waits, and each slot that is taken is on its way in or out."""
    stats = pool.stats()
    assert (stats.in_use, stats.waiting) == (0, 0), repr(pool)
