"""What the strategies for PostgreSQL share, whatever the driver."""

from abc import abstractmethod
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from weakref import WeakSet

from .. import _check
from .._strategy import Conn, ConnectionStrategy
from ..metrics import Attributes

Errand: TypeAlias = Callable[[Conn], Awaitable[object]]


class PostgresStrategy(ConnectionStrategy[Conn]):
    """Dials, runs the user's `init` and `reset`, and tells a body that failed from one that ended well."""

    def __init__(
        self,
        attributes: Attributes,
        *,
        init: Errand[Conn] | None,
        reset: Errand[Conn] | None,
        check_after: float | None,
    ) -> None:
        self.check_after = _check.seconds("check_after", check_after, zero=False)
        self._attributes = attributes
        self._init = init
        self._reset = reset
        self._failed: WeakSet[Conn] = WeakSet()  # those that came back from a body that raised, not yet reset

    @property
    def attributes(self) -> Attributes:
        """`db.system.name`; the server's address and port, where there is one that can be named; the database."""
        return self._attributes

    async def create_connection(self) -> Conn:
        """Dial the server, and have `init` set the connection up.

        Raises:
            OSError, or an error of the driver's: the server cannot be reached, is full, or does not let us in.
            Exception: whatever `init` raises.
        """
        conn = await self._dial()
        try:
            if self._init is not None:
                await self._init(conn)
            self._note_made(conn)
        except BaseException:
            self._hang_up(conn)
            raise
        return conn

    def connection_is_reusable(self, conn: Conn, error: BaseException) -> bool:
        """Yes after an `Exception` and after cancellation: the driver has the server drop the command in flight."""
        self._failed.add(conn)
        return isinstance(error, Exception | CancelledError) and not self.connection_is_closed(conn)

    def reset_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Undo what can be seen to have been left behind, and run `reset`, where one is given."""
        failed = bool(self._failed) and conn in self._failed
        self._failed.discard(conn)
        undoing = self._undo(conn, failed=failed)
        return undoing if self._reset is None else self._also(self._reset, conn, undoing)

    async def _also(self, reset: Errand[Conn], conn: Conn, undoing: Awaitable[None] | None) -> None:
        if undoing is not None:
            await undoing
        await reset(conn)

    @abstractmethod
    async def _dial(self) -> Conn: ...

    @abstractmethod
    def _hang_up(self, conn: Conn) -> None: ...

    @abstractmethod
    def _undo(self, conn: Conn, *, failed: bool) -> Awaitable[None] | None: ...

    def _note_made(self, conn: Conn) -> None: ...


def attributes_of(servers: Sequence[tuple[str, int | None]], database: str) -> Attributes:
    """What the exporters say. Of several servers none is named: which of them a connection goes to is seen later."""
    found: dict[str, str | int] = {"db.system.name": "postgresql"}
    if len(servers) == 1:
        address, port = servers[0]
        found["server.address"] = address
        if port is not None:
            found["server.port"] = port
    if database and "@" not in database:  # or it is the end of a password with a '/' in it
        found["db.namespace"] = database
    return found
