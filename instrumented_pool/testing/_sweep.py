"""Cancel a scenario at each of its steps, one run for each, and see what is left behind."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar, overload

from .._holders import where_is
from ..redaction import describe_error
from ._loop import SteppedLoop

S = TypeVar("S")


@dataclass(frozen=True)
class SweepFailure:
    """One run that went wrong.

    Attributes:
        step: the step of the loop, counted from 0, before which the scenario was cancelled; None if it was not.
        where: the frames that the scenario was suspended in then, the outermost first, as `function (file:line)`.
        error: what was raised by the scenario, its check or its invariant, or says what was left behind.
    """

    step: int | None
    where: tuple[str, ...]
    error: BaseException

    def __str__(self) -> str:
        when = "undisturbed" if self.step is None else f"cancelled at step {self.step}, in {' > '.join(self.where)}"
        return f"{when}: {describe_error(self.error)}"


class SweepError(AssertionError):
    """Some runs of a sweep went wrong; the message has a line for each.

    Attributes:
        failures: what went wrong, one each, in the order of the steps.
        steps: how many steps the scenario was cancelled at.
    """

    def __init__(self, failures: tuple[SweepFailure, ...], steps: int) -> None:
        lines = [f"{len(failures)} of {steps + 1} runs went wrong", *map(str, failures)]
        super().__init__("\n  ".join(lines))
        self.failures = failures
        self.steps = steps


@overload
def sweep_cancellations(
    scenario: Callable[[], Coroutine[Any, Any, object]],
    *,
    check: Callable[[], Coroutine[Any, Any, object]] | None = None,
    invariant: Callable[[], object] | None = None,
    repeatedly: bool = False,
    timeout: float = 5.0,
    max_steps: int = 2000,
    loop_factory: Callable[[], SteppedLoop] = SteppedLoop,
) -> int: ...
@overload
def sweep_cancellations(
    scenario: Callable[[S], Coroutine[Any, Any, object]],
    *,
    setup: Callable[[], Coroutine[Any, Any, S]],
    check: Callable[[S], Coroutine[Any, Any, object]] | None = None,
    invariant: Callable[[S], object] | None = None,
    repeatedly: bool = False,
    timeout: float = 5.0,
    max_steps: int = 2000,
    loop_factory: Callable[[], SteppedLoop] = SteppedLoop,
) -> int: ...
def sweep_cancellations(
    scenario: Callable[..., Coroutine[Any, Any, object]],
    *,
    setup: Callable[[], Coroutine[Any, Any, object]] | None = None,
    check: Callable[..., Coroutine[Any, Any, object]] | None = None,
    invariant: Callable[..., object] | None = None,
    repeatedly: bool = False,
    timeout: float = 5.0,
    max_steps: int = 2000,
    loop_factory: Callable[[], SteppedLoop] = SteppedLoop,
) -> int:
    """Run `scenario` once undisturbed, and once for each step of the loop that it takes, cancelled before that step.

    Each run has an event loop of its own, and begins with `setup`, which is not disturbed. It goes wrong if the
    scenario raises an `Exception`, if the scenario, the check or a task that they started does not end, if the check or
    the invariant raises, and if asyncio would have logged an error. Nothing in here is about pools: sweep whatever
    has to survive cancellation.

    Args:
        scenario: what is cancelled. It is called with what `setup` returned, or without arguments if there is none.
        setup: prepares a run: makes the pool, and brings it into the state that matters.
        check: looks, after the scenario has ended, at what it left behind, and closes what `setup` opened; called with
            the scenario's arguments.
        invariant: called before each step of the loop until all is over, with the same arguments.
        repeatedly: cancel before every later step too, as an impatient shutdown does.
        timeout: seconds that the scenario, the check and what they started may each take.
        max_steps: steps that they may take together; a run with more is taken to be a hot loop.
        loop_factory: makes the loop of each run.

    Returns:
        How many steps the scenario was cancelled at.

    Raises:
        SweepError: runs went wrong.
        RuntimeError: called from within a running event loop.
    """
    _refuse_running_loop()
    sweep = Sweep(scenario, setup, check, invariant, repeatedly, timeout, max_steps)
    error = _error_of(sweep, None, loop_factory)
    if error is not None:
        raise SweepError((SweepFailure(None, (), error),), 0) from error
    failures: list[SweepFailure] = []
    steps = 0
    while True:
        error = _error_of(sweep, steps, loop_factory)
        if error is not None:
            failures.append(SweepFailure(steps if sweep.where else None, sweep.where, error))
        if not sweep.where:
            break
        steps += 1
    if failures:
        raise SweepError(tuple(failures), steps) from failures[0].error
    return steps


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("sweep_cancellations() runs event loops of its own: call it from a plain function")


def _error_of(sweep: "Sweep", step: int | None, loop_factory: Callable[[], SteppedLoop]) -> BaseException | None:
    """Run once, on a loop of its own, and say what went wrong."""
    loop = loop_factory()
    loop.set_exception_handler(loop.complain)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            runner.run(sweep.play(loop, step))
            gc.collect(0)  # a task that ended with an error complains when it is collected
            assert not loop.complaints, "asyncio complained: " + "; ".join(loop.complaints)
        except (Exception, asyncio.CancelledError) as error:
            return error
        finally:
            loop.between = None
    return None


@dataclass
class Sweep:
    """A scenario and what belongs to it. The project's own tests drive `play` on loops that they handle themselves.

    Attributes:
        where: the frames in which the scenario was cancelled in the last run; empty if it had ended before.
    """

    scenario: Callable[..., Coroutine[Any, Any, object]]
    setup: Callable[[], Coroutine[Any, Any, object]] | None
    check: Callable[..., Coroutine[Any, Any, object]] | None
    invariant: Callable[..., object] | None
    repeatedly: bool
    timeout: float
    max_steps: int
    where: tuple[str, ...] = ()

    async def play(self, loop: SteppedLoop, step: int | None) -> None:
        """Run once, cancelled before `step`, or undisturbed."""
        self.where = ()
        subject: tuple[object, ...] = () if self.setup is None else (await self.setup(),)
        # Not create_task: an eager one would have taken its first step before anybody could look.
        task: asyncio.Task[object] = asyncio.Task(self.scenario(*subject))
        loop.between = self._watch(subject, task, step)
        try:
            await self._end({task}, "the scenario")
            if self.check is not None:
                await self._end_check(asyncio.Task(self.check(*subject)))
            await self._end(asyncio.all_tasks() - {asyncio.current_task()}, "a task that was left behind")
        finally:
            loop.between = None

    def _watch(self, subject: tuple[object, ...], task: "asyncio.Task[object]", step: int | None) -> Callable[[], None]:
        numbers = count()

        def look() -> None:
            if self.invariant is not None:
                self.invariant(*subject)
            number = next(numbers)
            assert number < self.max_steps, f"the run does not end within {self.max_steps} steps"
            if step is not None and not task.done() and (number == step or (self.repeatedly and number > step)):
                self.where = self.where or where_is(task)
                task.cancel()

        return look

    async def _end_check(self, checking: "asyncio.Task[object]") -> None:
        await self._end({checking}, "the check")
        assert not checking.cancelled(), "the check did not get to its end: it awaited what had been cancelled"

    async def _end(self, tasks: "set[asyncio.Task[Any]]", what: str) -> None:
        """Wait for `tasks`, and raise the `Exception` of each."""
        if not tasks:
            return
        done, pending = await asyncio.wait(tasks, timeout=self.timeout)
        for task in pending:
            raise AssertionError(f"{what} does not end within {self.timeout} s: {' > '.join(where_is(task))}")
        for task in done:
            if not task.cancelled() and isinstance(task.exception(), Exception):
                task.result()
