"""A bad day for a strategy that works: what networks and servers do, as often as a test wants it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from random import Random

from .._strategy import Conn, ConnectionStrategy
from ..metrics import Attributes


class ChaosError(ConnectionError):
    """What `ChaosStrategy` raises, as a driver raises its own."""


class ChaosStrategy(ConnectionStrategy[Conn]):
    """Puts another strategy, a fake or a real one, through faults.

    Each kind of fault is drawn from a sequence of its own that depends on `seed` alone: the n-th creation of two runs
    fares alike. Every share is a probability from 0 to 1, and is an attribute that can be set at any time. Nothing
    is leaked: each connection made is closed by `strategy`, also one that arrived dead or whose close hangs.

    Args:
        strategy: makes, checks and closes the connections.
        seed: of the faults.
        connect_delay: initial value of the attribute.
        connect_failures: initial value of the attribute.
        dead_on_arrival: initial value of the attribute.
        check_failures: initial value of the attribute.
        hung_closes: initial value of the attribute.

    Attributes:
        connect_delay: seconds that connecting takes longer, at most; each time another part of it.
        connect_failures: share of creations that raise `ChaosError`, after the delay.
        dead_on_arrival: share of connections that count as closed from the first check on.
        check_failures: share of checks that raise `ChaosError`.
        hung_closes: share of closes that never end: the connection is closed, and then nothing comes until the
            pool's `close_timeout`.
        inflicted: how often each fault was met, by the attribute's name.
    """

    def __init__(
        self,
        strategy: ConnectionStrategy[Conn],
        *,
        seed: int = 0,
        connect_delay: float = 0.0,
        connect_failures: float = 0.0,
        dead_on_arrival: float = 0.0,
        check_failures: float = 0.0,
        hung_closes: float = 0.0,
    ) -> None:
        self.connect_delay = connect_delay
        self.connect_failures = connect_failures
        self.dead_on_arrival = dead_on_arrival
        self.check_failures = check_failures
        self.hung_closes = hung_closes
        self.inflicted: Counter[str] = Counter()
        self.check_after = strategy.check_after
        self._strategy = strategy
        self._chances = {fault: Random(f"{seed} {fault}") for fault in ("connect_delay", *_SHARES)}
        self._dead: dict[int, Conn] = {}  # by identity: a connection need not be hashable

    async def create_connection(self) -> Conn:
        """Make a connection, late, dead or not at all.

        Raises:
            ChaosError: the creation is one of the `connect_failures`.
        """
        if self.connect_delay:
            await asyncio.sleep(self._chances["connect_delay"].uniform(0, self.connect_delay))
        if self._meets("connect_failures", self.connect_failures):
            raise ChaosError("chaos: the connection was refused")
        conn = await self._strategy.create_connection()
        if self._meets("dead_on_arrival", self.dead_on_arrival):
            self._dead[id(conn)] = conn
        return conn

    def connection_is_closed(self, conn: Conn) -> bool:
        """Say whether it is closed, or arrived dead.

        Raises:
            ChaosError: the check is one of the `check_failures`.
        """
        if self._meets("check_failures", self.check_failures):
            raise ChaosError("chaos: the connection cannot be checked")
        return id(conn) in self._dead or self._strategy.connection_is_closed(conn)

    def close_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Close it, and perhaps hang."""
        self._dead.pop(id(conn), None)
        closing = self._strategy.close_connection(conn)
        return _hang_after(closing) if self._meets("hung_closes", self.hung_closes) else closing

    def connection_is_reusable(self, conn: Conn, error: BaseException) -> bool:
        """Say what the other strategy says."""
        return self._strategy.connection_is_reusable(conn, error)

    def reset_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Do what the other strategy does."""
        return self._strategy.reset_connection(conn)

    async def check_connection(self, conn: Conn) -> None:
        """Do what the other strategy does."""
        await self._strategy.check_connection(conn)

    @property
    def attributes(self) -> Attributes:
        """What the other strategy says."""
        return self._strategy.attributes

    def _meets(self, fault: str, share: float) -> bool:
        if not 0 <= share <= 1:
            raise ValueError(f"{fault} must be a share from 0 to 1, got {share!r}")
        met = self._chances[fault].random() < share
        self.inflicted[fault] += met
        return met


_SHARES = ("connect_failures", "dead_on_arrival", "check_failures", "hung_closes")


async def _hang_after(closing: Awaitable[None] | None) -> None:
    if closing is not None:
        await closing
    await asyncio.Event().wait()
