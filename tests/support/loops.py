"""The real event loops that applications run on."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

MakeLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


def _loops() -> dict[str, MakeLoop]:
    loops: dict[str, MakeLoop] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    if sys.version_info >= (3, 12):
        loops |= {f"{name}, eager": _eager(make) for name, make in loops.items()}
    return loops


def _eager(make: MakeLoop) -> MakeLoop:
    """A loop whose tasks run their first step within `create_task`."""

    def make_eager() -> asyncio.AbstractEventLoop:
        loop = make()
        loop.set_task_factory(_eager_task)
        return loop

    return make_eager


def _eager_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    """As `asyncio.eager_task_factory`, which in early releases of 3.13 refuses an option that uvloop passes on."""
    options["eager_start"] = True
    return asyncio.Task(coroutine, loop=loop, **options)


LOOPS = _loops()
