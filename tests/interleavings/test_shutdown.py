"""`asyncio.run` ends, at every stage of everything: whatever runs then is cancelled, the pool's own tasks too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from instrumented_pool import ConnectionPool, PoolError
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from support.fakes import CarefulStrategy, Pool
from support.loops import LOOPS
from support.virtual import steps
from support.whole import assert_gone, assert_whole

STAGES = range(50)


class Application:
    """Requests that go on for ever, on a pool that lives as long as the application does."""

    def __init__(self, *, careful: bool) -> None:
        self.strategy: FakeStrategy = FakeStrategy(create_steps=3, close_steps=3)
        if careful:  # resets all that comes back, and looks at what lies idle as soon as the timer gets round to it
            self.strategy = CarefulStrategy(check_after=1e-6, reset_steps=3, close_steps=3)
            self.strategy.create_steps, self.strategy.check_steps = 3, 12
        self.recorder = RecordingObserver()
        kept = 8 if careful else 1  # more than there are requests, so that some lie idle
        self.pool: Pool = ConnectionPool(
            strategy=self.strategy, max_size=kept + 1, burst_limit=kept + 2, min_size=kept, observers=[self.recorder]
        )
        self.complaints: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(context)

    async def request(self, number: int) -> None:
        while True:
            with suppress(PoolError, OSError):
                async with self.pool.get_connection():
                    await steps(number)
                    if number == 5:
                        self.pool.clear()
                    assert_whole(self.pool)
            await asyncio.sleep(0)

    async def serve(self) -> None:
        """The way that frees everything in the right order: those who use the pool end within it."""
        async with self.pool, asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(self.request(number))

    async def lifespan(self) -> None:
        async with self.pool:
            await asyncio.Event().wait()

    def start_in_tasks(self) -> None:
        """The way of most frameworks: nothing but the end of the loop ends these."""
        requests = [self.request(number) for number in range(6)]
        self.tasks = [asyncio.create_task(coroutine) for coroutine in (self.lifespan(), *requests)]

    def assert_gone(self) -> None:
        """Every connection was closed, every event has its pair, and nothing was raised where nobody was told."""
        assert_gone(self.pool, self.strategy, self.recorder)
        assert not self.complaints


@pytest.mark.parametrize("careful", [False, True], ids=["plain", "careful"])
@pytest.mark.parametrize("loop", LOOPS)
def test_end_of_the_main_task_leaves_nothing_open(loop: str, careful: bool) -> None:
    """Lifespan and requests are cancelled all at once, in no order."""
    for stage in STAGES:
        application = Application(careful=careful)

        async def main(application: Application = application, stage: int = stage) -> None:
            asyncio.get_running_loop().set_exception_handler(application.complain)
            application.start_in_tasks()
            await steps(stage)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())
        application.assert_gone()
        assert all(task.cancelled() for task in application.tasks)


@pytest.mark.parametrize("careful", [False, True], ids=["plain", "careful"])
@pytest.mark.parametrize("loop", LOOPS)
def test_interrupted_main_task_leaves_nothing_open(loop: str, careful: bool) -> None:
    """It is cancelled, as by Ctrl-C, and ends its requests before it closes the pool."""
    for stage in STAGES:
        application = Application(careful=careful)

        async def main(application: Application = application, stage: int = stage) -> None:
            asyncio.get_running_loop().set_exception_handler(application.complain)
            serving = asyncio.create_task(application.serve())
            await steps(stage)
            serving.cancel()
            await asyncio.wait({serving})
            assert serving.cancelled()
            application.assert_gone()

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_generator_suspended_at_the_end_of_the_loop_gives_its_connection_up(loop: str) -> None:
    """The loop closes it when all tasks are gone, and so the connection: what was interrupted is not lent again."""
    strategy, recorder = FakeStrategy(), RecordingObserver()
    pool: Pool = ConnectionPool(strategy=strategy, max_size=2, observers=[recorder])

    async def dependency() -> AsyncIterator[FakeConnection]:
        async with pool.get_connection() as conn:
            yield conn

    lent = dependency()

    async def main() -> None:
        await anext(lent)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    assert_whole(pool)
    assert pool.stats().total == 0
    assert strategy.closed == strategy.created
    recorder.assert_paired()
