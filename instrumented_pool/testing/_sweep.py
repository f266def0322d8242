"""Disturb a scenario at each of its steps, or let each of its calls fail, one run for each, and see what is left."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, TypeVar, overload

from .._holders import where_is
from ..redaction import describe_error
from ._faults import Faults
from ._loop import INTERRUPTS, SteppedLoop, drive

S = TypeVar("S")


@dataclass(frozen=True)
class SweepFailure:
    """One run that went wrong.

    Attributes:
        step: the step of the loop, counted from 0, before which the scenario was cancelled, or the number of the call,
            counted from 1, that failed; None if the run was not disturbed.
        what: how it was disturbed, in words.
        where: the frames that the scenario was in then, the outermost first, as `function (file:line)`.
        error: what was raised by the scenario, its check or its invariant, or says what was left behind.
    """

    step: int | None
    what: str
    where: tuple[str, ...]
    error: BaseException

    def __str__(self) -> str:
        where = f", in {' > '.join(self.where)}" if self.where else ""
        return f"{self.what}{where}: {describe_error(self.error)}"


class SweepError(AssertionError):
    """Some runs of a sweep went wrong; the message has a line for each.

    Attributes:
        failures: what went wrong, one each, in the order of the steps.
        steps: how many steps the scenario was disturbed at.
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

    async def arrange(faults: Faults) -> tuple[object, ...]:
        return () if setup is None else (await setup(),)

    sweep = Sweep(scenario, arrange, check, invariant, timeout, max_steps)
    return sweep.through((Trouble(step, repeatedly) for step in chain([None], count())), loop_factory)


def sweep_faults(
    scenario: Callable[[S], Coroutine[Any, Any, object]],
    *,
    setup: Callable[[Faults], Coroutine[Any, Any, S]],
    error: Callable[[str], BaseException] = ConnectionError,
    check: Callable[[S], Coroutine[Any, Any, object]] | None = None,
    invariant: Callable[[S], object] | None = None,
    timeout: float = 5.0,
    max_steps: int = 2000,
    loop_factory: Callable[[], SteppedLoop] = SteppedLoop,
) -> int:
    """Run `scenario` once undisturbed, and once for each of its calls that may fail, in which that call fails.

    What may fail is up to `setup`: it gives the `Faults` that it is called with to a `FaultyStrategy`, to a
    `FaultyObserver`, or to code of its own that calls `may_fail`. Until the scenario begins and after it has ended,
    nothing fails, and what the invariant calls does not either.

    A run goes wrong as it does in `sweep_cancellations`, except that the scenario, or a task that it started, may
    raise the fault, or an error that was raised from it. A fault that is a `KeyboardInterrupt` or a `SystemExit` has to
    leave the event loop, which then goes on with the run.

    Args:
        scenario: what is disturbed; called with what `setup` returned.
        setup: prepares a run.
        error: makes what is raised, from words that say which call it is; such as an exception's class.
        check: as in `sweep_cancellations`.
        invariant: as in `sweep_cancellations`.
        timeout: seconds that the scenario, the check and what they started may each take.
        max_steps: steps of the loop that they may take together.
        loop_factory: makes the loop of each run.

    Returns:
        How many calls failed, one in each run.

    Raises:
        SweepError: runs went wrong.
        RuntimeError: called from within a running event loop.
    """

    async def arrange(faults: Faults) -> tuple[object, ...]:
        return (await setup(faults),)

    sweep = Sweep(scenario, arrange, check, invariant, timeout, max_steps)
    troubles = (Trouble(faults=Faults(at=call, error=error)) for call in chain([None], count(1)))
    return sweep.through(troubles, loop_factory)


@dataclass
class Trouble:
    """What disturbs one run: a cancellation, a fault, or nothing.

    Attributes:
        cancel_at: the step of the loop before which the scenario is cancelled.
        repeatedly: whether it is before every later step too.
        faults: what `setup` is given.
        task: runs the scenario.
        where: the frames in which the scenario was disturbed; empty where it never was.
    """

    cancel_at: int | None = None
    repeatedly: bool = False
    faults: Faults = field(default_factory=Faults)
    task: "asyncio.Task[object] | None" = None
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.faults._when_failing = self._note

    @property
    def step(self) -> int | None:
        """The step or the call that it comes at, if it came."""
        return (self.faults.at if self.cancel_at is None else self.cancel_at) if self.where else None

    def __str__(self) -> str:
        if self.step is None:
            return "undisturbed"
        return f"cancelled at step {self.step}" if self.faults.failed is None else f"{self.faults.failed} failed"

    def before(self, step: int) -> None:
        """Cancel the scenario, if this is the step."""
        at, task = self.cancel_at, self.task
        if at is not None and task is not None and not task.done() and (step == at or (self.repeatedly and step > at)):
            self._note()
            task.cancel()

    def explains(self, error: BaseException) -> bool:
        """Whether `error` is the fault, or was raised from it."""
        if error is self.faults.raised:
            return True
        causes = [error.__cause__, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())]
        return any(cause is not None and self.explains(cause) for cause in causes)

    def _note(self) -> None:
        # A fault of a call that the scenario makes itself is found within the files of this package, too.
        self.where = self.where or tuple(frame for frame in where_is(self.task) if "(testing/_" not in frame)


@dataclass
class Sweep:
    """A scenario and what belongs to it; `arrange` returns the arguments of all the others."""

    scenario: Callable[..., Coroutine[Any, Any, object]]
    arrange: Callable[[Faults], Coroutine[Any, Any, tuple[object, ...]]]
    check: Callable[..., Coroutine[Any, Any, object]] | None
    invariant: Callable[..., object] | None
    timeout: float
    max_steps: int

    def through(self, troubles: Iterable[Trouble], loop_factory: Callable[[], SteppedLoop]) -> int:
        """Run once with each trouble: first with none, and in the end with one that the scenario does not meet."""
        _refuse_running_loop()
        failures: list[SweepFailure] = []
        for met, trouble in enumerate(troubles, start=-1):
            error = self.error_of(trouble, loop_factory())
            if error is not None:
                failures.append(SweepFailure(trouble.step, str(trouble), trouble.where, error))
            if not trouble.where and (met >= 0 or failures):
                if failures:
                    raise SweepError(tuple(failures), max(met, 0)) from failures[0].error
                return met
        raise AssertionError("the sweep has no end")

    def error_of(self, trouble: Trouble, loop: SteppedLoop) -> BaseException | None:
        """Run once, on a loop of its own, and say what went wrong."""
        loop.set_exception_handler(loop.complain)
        fault = trouble.faults
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                _, escaped = drive(runner.get_loop(), self._play(loop, trouble), lambda error: error is fault.raised)
                assert escaped or not isinstance(fault.raised, INTERRUPTS), "the interrupt was swallowed"
                gc.collect(0)  # a task that ended with an error complains when it is collected
                assert not loop.complaints, "asyncio complained: " + "; ".join(loop.complaints)
            except (Exception, asyncio.CancelledError) as error:
                return error
            finally:
                loop.between = None
        return None

    async def _play(self, loop: SteppedLoop, trouble: Trouble) -> None:
        with trouble.faults.silenced():
            subject = await self.arrange(trouble.faults)
        # Not create_task: an eager one would have taken its first step before anybody could look.
        trouble.task = asyncio.Task(self.scenario(*subject))
        loop.between = self._watch(subject, trouble)
        try:
            await self._end({trouble.task}, "the scenario", trouble)
            with trouble.faults.silenced():
                if self.check is not None:
                    await self._end_check(asyncio.Task(self.check(*subject)))
                left = asyncio.all_tasks() - {asyncio.current_task()}
                await self._end(left, "a task that was left behind", trouble)
        finally:
            loop.between = None

    def _watch(self, subject: tuple[object, ...], trouble: Trouble) -> Callable[[], None]:
        steps = count()

        def look() -> None:
            if self.invariant is not None:
                with trouble.faults.silenced():
                    self.invariant(*subject)
            step = next(steps)
            assert step < self.max_steps, f"the run does not end within {self.max_steps} steps"
            trouble.before(step)

        return look

    async def _end_check(self, checking: "asyncio.Task[object]") -> None:
        await self._end({checking}, "the check")
        assert not checking.cancelled(), "the check did not get to its end: it awaited what had been cancelled"

    async def _end(self, tasks: "set[asyncio.Task[Any]]", what: str, trouble: Trouble | None = None) -> None:
        """Wait for `tasks`, and raise the `Exception` of each, unless `trouble` explains it."""
        if not tasks:
            return
        done, pending = await asyncio.wait(tasks, timeout=self.timeout)
        for task in pending:
            raise AssertionError(f"{what} does not end within {self.timeout} s: {' > '.join(where_is(task))}")
        for task in done:
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception) and not (trouble is not None and trouble.explains(error)):
                raise error


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a sweep runs event loops of its own: call it from a plain function")
