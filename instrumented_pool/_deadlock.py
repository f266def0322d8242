"""Tasks that wait for each other's connections, found only where it can be proved that waiting is in vain.

It is, if every connection there may be is held by a task that waits for one more, and if nobody but that task can give
back what it holds: the exit of its `async with` lies on its own stack. What was entered in any other way, through an
`AsyncExitStack` say, another task may be about to give back, and nothing is said.
"""

import asyncio
import gc
from collections.abc import Container, Iterable
from contextlib import _AsyncGeneratorContextManager, _GeneratorContextManager
from math import inf
from types import MethodType
from typing import Any, Protocol, TypeVar

from ._holders import await_chain


class Acquire(Protocol):
    """What has to be known of an acquire: who asked, and, while it is queued, until when and for what it waits."""

    @property
    def acquire_id(self) -> int: ...
    @property
    def task(self) -> "asyncio.Task[Any] | None": ...
    @property
    def deadline(self) -> float: ...
    @property
    def future(self) -> "asyncio.Future[None]": ...
    async def __aenter__(self) -> object: ...


A = TypeVar("A", bound=Acquire)

_OTHERS_TIMEOUTS = ("anyio", "async_timeout")  # whose contexts tell by `deadline` when they cancel, on the loop's clock


def in_vain(holding: Iterable[A | None], queued: Container[A], now: float) -> A | None:
    """Return which of the waits is the first to end without a connection, if all of them are going to; else None.

    Args:
        holding: the acquire of each connection that there may be, or None of one that is not lent.
        queued: those that wait.
        now: seconds on the clock of their deadlines.
    """
    knot: list[tuple[A, A]] = []
    for held in holding:
        wait = None if held is None else _wait_of(held)
        if held is None or wait is None or wait not in queued or wait.future.done():
            return None
        knot.append((held, wait))
    first, earliest = None, (inf, 0)
    for held, wait in knot:
        ends_at = _end_of_wait(held, wait, now)
        if ends_at is None:
            return None
        if (end := (ends_at, -wait.acquire_id)) <= earliest:  # of those that would wait for ever, the last to come
            first, earliest = wait, end
    return first


def _wait_of(held: A) -> A | None:
    """What the task that has `held` waits for, if that is an acquire, too."""
    if held.task is None or held.task.done():
        return None
    chain = list(await_chain(held.task.get_coro()))
    if not chain or chain[-1][1].f_code is not held.__aenter__.__code__:
        return None
    wait: A = chain[-1][1].f_locals["self"]
    return wait


def _end_of_wait(held: Acquire, wait: Acquire, now: float) -> float | None:
    """When the task gives up waiting, if it is sure to hold `held` until then; else None."""
    assert held.task is not None
    ends_at, sure = wait.deadline, False
    contexts = [each for coroutine, _ in await_chain(held.task.get_coro()) for each in _entered(coroutine)]
    while contexts:
        context = contexts.pop()
        if context is held:
            sure = True
        elif isinstance(context, _AsyncGeneratorContextManager | _GeneratorContextManager):
            contexts += _entered(context.gen)
        else:
            ends_at = min(ends_at, _end_of_timeout(context, now))
    return ends_at if sure else None


def _entered(suspended: object) -> list[object]:
    """The contexts that a suspended coroutine or generator has entered: their exits lie on its stack."""
    return [
        found.__self__
        for found in gc.get_referents(suspended)
        if isinstance(found, MethodType) and found.__name__ in ("__aexit__", "__exit__")
    ]


def _end_of_timeout(context: object, now: float) -> float:
    """When it cancels the task that has entered it: for ever away if it is no time-out, or one without a deadline."""
    when: float | None = None
    if isinstance(context, asyncio.Timeout):
        when = context.when()
    elif type(context).__module__.partition(".")[0] in _OTHERS_TIMEOUTS:
        when = getattr(context, "deadline", None)
    return inf if when is None else now + when - asyncio.get_running_loop().time()
