"""What every pool on a real server is asked to do, and ours, which is the same on all of them."""

from abc import ABC, abstractmethod
from asyncio import Barrier, gather
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from instrumented_pool import ConnectionPool, ConnectionStrategy, Observer

Lease: TypeAlias = AbstractAsyncContextManager[Any]


class Contestant(ABC):
    """A pool of at most `size` connections to the server at `url`, made on the event loop that will use it.

    Attributes:
        lease: what `async with` is given, again for each acquire.
    """

    lease: Callable[[], Lease]

    async def open(self) -> None:  # noqa: B027  some open as they are made
        """Be ready, as far as that must be awaited."""

    async def close(self) -> None:  # noqa: B027  some have nothing to close
        """Leave nothing behind."""

    @abstractmethod
    async def query(self, conn: Any, token: int) -> int:
        """Have the server say the token, on a connection of the driver's."""

    async def ask(self, token: int) -> int:
        """The whole request: acquire, query, release."""
        async with self.lease() as conn:
            return await self.query(conn, token)


Builder: TypeAlias = Callable[[str, int], Contestant]
Builders: TypeAlias = Mapping[str, Builder]
"""By the names that the page calls them."""


class Ours(Contestant):
    """As it is by default, with a strategy of a driver's, which a class below this one knows."""

    def __init__(self, url: str, size: int, observers: Iterable[Observer] = ()) -> None:
        self.pool: ConnectionPool[Any] = ConnectionPool(
            strategy=self.strategy(url), max_size=size, observers=observers, name="side-by-side"
        )
        self.lease = self.pool.get_connection

    @abstractmethod
    def strategy(self, url: str) -> ConnectionStrategy[Any]: ...

    async def close(self) -> None:
        await self.pool.close()


async def fill(contestant: Contestant, size: int) -> None:
    """Have so many connections made, each of which has prepared what it prepares at its first query."""
    everybody = Barrier(size)

    async def hold() -> None:
        async with contestant.lease() as conn:
            await contestant.query(conn, 0)
            await everybody.wait()

    await gather(*(hold() for _ in range(size)))
