"""The public cancel sweep, pointed at asyncio-connection-pool 1.1.1 and at this pool: it finds the leaks of the one."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import asyncio_connection_pool as ancestor
import pytest

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import FakeConnection, FakeStrategy, SweepError, sweep_cancellations
from support.virtual import VirtualLoop, steps


class OldStrategy(FakeStrategy, ancestor.ConnectionStrategy[FakeConnection]):  # type: ignore[misc]  # the old close was async
    async def make_connection(self) -> FakeConnection:
        return await self.create_connection()


class AnyPool(Protocol):
    """What the two have in common."""

    @property
    def max_size(self) -> int: ...

    def get_connection(self) -> AbstractAsyncContextManager[FakeConnection]: ...


@dataclass
class Desk:
    """A pool, with those who use it beside the task that is cancelled."""

    pool: AnyPool
    others: list["asyncio.Task[None]"] = field(default_factory=list)

    async def use(self, count: int = 2) -> None:
        async with self.pool.get_connection():
            await steps(count)


MakeDesk = Callable[[int], Desk]


def old(max_size: int) -> Desk:
    return Desk(ancestor.ConnectionPool(strategy=OldStrategy(create_steps=3), max_size=max_size))


def new(max_size: int) -> Desk:
    return Desk(ConnectionPool(strategy=FakeStrategy(create_steps=3), max_size=max_size))


def with_nothing_connected(make: MakeDesk) -> Callable[[], Coroutine[Any, Any, Desk]]:
    """The caller has to have a connection made."""

    async def setup() -> Desk:
        return make(2)

    return setup


def with_one_idle(make: MakeDesk) -> Callable[[], Coroutine[Any, Any, Desk]]:
    """The caller has its connection at once."""

    async def setup() -> Desk:
        desk = make(1)
        await desk.use()
        return desk

    return setup


def with_one_lent(make: MakeDesk) -> Callable[[], Coroutine[Any, Any, Desk]]:
    """The caller is handed the connection of another, who returns it after some steps."""

    async def setup() -> Desk:
        desk = make(1)
        desk.others.append(asyncio.ensure_future(desk.use(6)))
        await steps(5)
        return desk

    return setup


async def every_slot_is_there(desk: Desk) -> None:
    """Whatever was cancelled: `max_size` callers can hold a connection at the same time."""
    if desk.others:
        await asyncio.wait(desk.others)
    everybody = asyncio.Barrier(desk.pool.max_size)

    async def hold() -> None:
        async with desk.pool.get_connection():
            await everybody.wait()

    await asyncio.gather(*(hold() for _ in range(desk.pool.max_size)))
    if isinstance(desk.pool, ConnectionPool):
        await desk.pool.close()


def sweep(setup: Callable[[], Coroutine[Any, Any, Desk]]) -> int:
    return sweep_cancellations(Desk.use, setup=setup, check=every_slot_is_there, loop_factory=VirtualLoop)


def leaks(setup: Callable[[], Coroutine[Any, Any, Desk]]) -> list[int | None]:
    """The steps at which a cancellation costs a slot."""
    with pytest.raises(SweepError) as caught:
        sweep(setup)
    for failure in caught.value.failures:
        assert failure.where[-1].startswith("ConnectionPool.get_connection (asyncio_connection_pool/__init__.py:141")
        assert "the check does not end" in str(failure.error)
    return [failure.step for failure in caught.value.failures]


def test_ancestor_loses_a_slot_to_a_caller_cancelled_before_its_maker_starts_or_as_its_connection_arrives() -> None:
    """Step 1: the maker, never begun, does not count itself off. Step 5: it has counted what nobody will return."""
    assert leaks(with_nothing_connected(old)) == [1, 5]


def test_ancestor_loses_the_connection_that_is_handed_to_a_cancelled_caller() -> None:
    """Step 10: taken from the queue and counted as in use, it belongs to a task whose result nobody will see."""
    assert leaks(with_one_lent(old)) == [10]


def test_ancestor_loses_nothing_where_it_does_not_wait() -> None:
    """With a connection idle there is nothing to be cancelled in, so the sweep is no alarm that always rings."""
    assert sweep(with_one_idle(old)) == 3


@pytest.mark.parametrize("setup", [with_nothing_connected, with_one_idle, with_one_lent])
def test_this_pool_loses_nothing(setup: Callable[[MakeDesk], Callable[[], Coroutine[Any, Any, Desk]]]) -> None:
    """The same scenarios, and the same check."""
    assert sweep(setup(new)) >= 3
