"""An event loop in which somebody may look, or act, between any two steps."""

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTS = (KeyboardInterrupt, SystemExit)


class _Ready(deque[asyncio.Handle]):
    """The loop's queue of callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[], object] | None = None

    def popleft(self) -> asyncio.Handle:
        if self.between is not None:
            self.between()
        return super().popleft()


class SteppedLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on a selector. A step is one callback, such as a task's way from one await to the next.

    Attributes:
        complaints: what asyncio would have logged, from the moment at which `complain` is the exception handler.
    """

    _ready: _Ready

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        super().__init__(selector)
        self._ready = _Ready()
        self.complaints: list[str] = []

    @property
    def between(self) -> Callable[[], object] | None:
        """Called before each step. What it raises leaves `run_until_complete`, and the step is still to come."""
        return self._ready.between

    @between.setter
    def between(self, look: Callable[[], object] | None) -> None:
        self._ready.between = look

    def complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """For `set_exception_handler`: keep what went wrong where nobody could be told."""
        if not isinstance(error := context.get("exception"), INTERRUPTS):  # those have left the loop, and so are told
            self.complaints.append(f"{context['message']}: {error!r}")


def drive(
    loop: asyncio.AbstractEventLoop,
    main: Coroutine[Any, Any, T],
    goes_on_after: Callable[[BaseException], bool] = lambda error: True,
) -> tuple[T, list[BaseException]]:
    """Run `main` to its end although interrupts leave the loop wherever they are raised; its result, and what left.

    Raises:
        BaseException: what `goes_on_after` does not know, such as that somebody pressed Ctrl-C.
    """
    task = loop.create_task(main)
    escaped: list[BaseException] = []
    while not task.done():
        try:
            loop.run_until_complete(task)
        except INTERRUPTS as error:
            if not goes_on_after(error):
                raise
            escaped.append(error)
    return task.result(), escaped
