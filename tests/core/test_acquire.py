"""Rule 1: with a connection idle and nobody queued, entering never yields to the event loop."""

from collections.abc import Coroutine
from typing import Any

import pytest

from instrumented_pool import Acquired
from instrumented_pool.testing import RecordingObserver
from support.fakes import MakePool


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that must end without yielding."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    pytest.fail("yielded to the event loop")


@pytest.mark.parametrize("options", [{}, {"max_lifetime": 60.0}, {"idle_timeout": 60.0}, {"leak_after": 60.0}])
async def test_entering_with_a_connection_idle_does_not_yield(make_pool: MakePool, options: dict[str, Any]) -> None:
    """The connection is there, so no other task may run before the body."""
    pool = make_pool(**options)
    async with pool.get_connection() as first:
        pass
    lease = pool.get_connection()
    assert at_once(lease.__aenter__()) is first
    assert at_once(lease.__aexit__(None, None, None)) is None


async def test_observed_entering_does_not_yield_either(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """Observers are called in passing."""
    pool = make_pool(observers=[recorder])
    async with pool.get_connection():
        pass
    lease = pool.get_connection()
    at_once(lease.__aenter__())
    at_once(lease.__aexit__(None, None, None))
    assert [event.source for event in recorder.of(Acquired)] == ["new", "idle"]


async def test_the_most_recently_used_connection_is_lent_first(make_pool: MakePool) -> None:
    """What is warm stays warm, and what is not needed grows old."""
    pool = make_pool(max_size=2)
    async with pool.get_connection() as first, pool.get_connection():
        pass
    async with pool.get_connection() as again:
        assert again is first
