"""What the pool must be told about a kind of connection."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Generic, TypeVar

Conn = TypeVar("Conn")


class ConnectionStrategy(ABC, Generic[Conn]):
    """How one kind of connection is made, checked and closed.

    The pool never looks inside a connection: everything it does to one goes through these methods.
    """

    @abstractmethod
    async def create_connection(self) -> Conn:
        """Open a connection.

        Runs in a task of the pool's, in a copy of the context of the caller that made the pool grow. Whatever it
        raises is raised where that caller waits.
        """

    @abstractmethod
    def connection_is_closed(self, conn: Conn) -> bool:
        """Say whether `conn` is beyond use. Asked before every hand-out, so it must be quick and must not block.

        True, or any `Exception`, makes the pool drop the connection and try the next.
        """

    @abstractmethod
    def close_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Close `conn`; may be a plain function or an `async def`.

        An `async def` runs in a task of the pool's, for at most the pool's `close_timeout` seconds. The connection
        has left the pool whatever this does.
        """

    def connection_is_reusable(self, conn: Conn, error: BaseException) -> bool:
        """Say whether `conn` may be lent again after the body that used it raised `error`.

        By default only after an `Exception`: a body that was cancelled may have left half a command on the wire,
        and the next borrower would read the reply to it. Override it where the driver can tell. If it raises, the
        connection is closed.
        """
        return isinstance(error, Exception)
