"""The pool's time, set forward by a test; the event loop's goes on as it does."""

import time

import pytest

from instrumented_pool import _pool


class Clock:
    """What the pool sees as `monotonic()`.

    Attributes:
        ahead: seconds by which it is ahead of the real one; let it only rise.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every pool of this test."""
    clock = Clock()
    monkeypatch.setattr(_pool, "monotonic", clock.now)
    return clock
