"""Where a task is now, read from its suspended frames only when somebody asks."""

import asyncio
import gc
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any

_PACKAGE = PurePath(__file__).parent
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


def where_is(task: "asyncio.Task[Any] | None") -> tuple[str, ...]:
    """Return the frames `task` is in, the outermost first, as `function (file:line)`.

    Of libraries only what the application's own code called last, and the innermost: a web framework around it has
    twenty frames, and a driver below it fifteen. Where nothing is the application's own, nothing is left out.

    A suspended task is read along its chain of awaits, the running one along the stack. Only names, files and lines
    are read: no variable and no value.
    """
    if task is None:
        return ("no task: acquired from a callback",)
    if task.done():
        return (_finished(task),)
    coroutine = task.get_coro()
    if task is _running_task():
        return _running_frames(coroutine)
    return tuple(_suspended_frames(coroutine)) or (_defined(coroutine),)


def _finished(task: "asyncio.Task[Any]") -> str:
    """Say what has ended. An eager task that ended at once has no coroutine, and CPython 3.12.1 crashes if asked."""
    coroutine = getattr(task, "_coro", None)  # not get_coro(), which is what crashes
    what = "" if coroutine is None else f"{_defined(coroutine)}, "
    return f"{what}finished without giving it back"


def _running_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # asked from outside the event loop
        return None


def _suspended_frames(coroutine: Any) -> list[str]:
    return _told((frame.f_code, frame.f_lineno) for _, frame in await_chain(coroutine))


def await_chain(awaited: Any) -> Iterator[tuple[Any, FrameType]]:
    """Follow what a suspended coroutine awaits: each coroutine, generator and async generator, and its frame."""
    while awaited is not None:
        # Each of the three has its own names for the same two things.
        for of_itself, below in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
            frame = getattr(awaited, of_itself, None)
            if frame is not None:
                yield awaited, frame
                awaited = getattr(awaited, below, None)
                break
        else:
            awaited = _wrapped(awaited)


def _wrapped(awaited: Any) -> Any:
    """What a step of an async generator, or the `__await__` of a coroutine, stands for: only the collector can tell."""
    within = (CoroutineType, GeneratorType, AsyncGeneratorType)
    return next((found for found in gc.get_referents(awaited) if isinstance(found, within)), None)


def _running_frames(coroutine: Any) -> tuple[str, ...]:
    outermost = getattr(coroutine, "cr_frame", None)
    frames: list[tuple[CodeType, int]] = []
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if PurePath(frame.f_code.co_filename).parent != _PACKAGE:
            frames.append((frame.f_code, frame.f_lineno))
        if frame is outermost:
            break
        frame = frame.f_back
    return tuple(_told(reversed(frames)))


def _told(frames: Iterable[tuple[CodeType, int]]) -> list[str]:
    listed = list(frames)
    own = {number for number, (code, _) in enumerate(listed) if not _is_library(code)}
    told = own | {max(own) + 1, len(listed) - 1} if own else range(len(listed))
    return [_place(*frame) for number, frame in enumerate(listed) if number in told]


def _is_library(code: CodeType) -> bool:
    parts = PurePath(code.co_filename).parts
    installed = "site-packages" in parts or "dist-packages" in parts
    return installed or code.co_filename.startswith(_STANDARD_LIBRARY)


def _defined(coroutine: Any) -> str:
    code = getattr(coroutine, "cr_code", None)
    return _place(code, code.co_firstlineno) if code is not None else type(coroutine).__qualname__


def _place(code: CodeType, line: int) -> str:
    return f"{code.co_qualname} ({'/'.join(PurePath(code.co_filename).parts[-2:])}:{line})"
