"""What the pool must be told about a kind of connection."""

from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Awaitable, Iterator
from typing import Generic, TypeVar

from .metrics import Attributes

Conn = TypeVar("Conn")

_CUT_SHORT = (
    CancelledError,
    BaseExceptionGroup,
)  # a group is how a TaskGroup ends that has cancelled some of its tasks


class ConnectionStrategy(ABC, Generic[Conn]):
    """How one kind of connection is made, checked, reset and closed.

    The pool never looks inside a connection: everything it does to one goes through these methods. Three of them have
    to be written, the others have answers that suit most.

    Attributes:
        check_after: seconds that a connection lies idle until the pool has it looked at by `check_connection`, in the
            background, and again after as many; None is never. Read once, as the pool is built.
    """

    check_after: float | None = None

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

    @property
    def attributes(self) -> Attributes:
        """What it connects to, for the exporters to put on all that they report: none by default.

        The conventions' keys are `db.system.name`, `server.address`, `server.port` and `db.namespace`. Credentials are
        refused. Read once, as the pool is built.
        """
        return {}

    def connection_is_reusable(self, conn: Conn, error: BaseException) -> bool:
        """Say whether `conn` may be lent again after the body that used it raised `error`.

        By default only after an `Exception` behind which there is no cancellation: a body of which a part was cancelled
        may have left half a command on the wire, and the next borrower would read the reply to it. `asyncio.timeout`
        in a body cancels, and so does a `TaskGroup` that fails. Override it where the driver can tell. If it raises,
        the connection is closed.
        """
        return not any(isinstance(each, _CUT_SHORT) or not isinstance(each, Exception) for each in _chain(error))

    def reset_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Undo what a borrower may have left behind, such as an open transaction; may be an `async def`.

        Asked whenever a body is over and `conn` would be lent again. Returning None, where nothing has to be awaited,
        costs the pool next to nothing. Otherwise the connection stays in use, and the caller in the exit of its
        `async with`, while a task of the pool's awaits it, for at most `close_timeout` seconds. If it raises or
        overruns, the connection is closed as `dirty`, for which no caller waits, and observers alone are told why, by
        `on_close_error`.
        """
        return None

    async def check_connection(self, conn: Conn) -> None:
        """Ask the other side whether `conn` is alive; raise if it is not.

        For dead connections that look alive to `connection_is_closed`: behind a firewall that has forgotten them, of
        a server that hangs. Asked every `check_after` seconds of idleness, in a task of the pool's, for at most
        `close_timeout` seconds, of half the idle connections at a time, so that callers find the others. One that fails
        is closed as `stale`; no acquire waits for the answer while another connection is idle.
        """
        raise NotImplementedError


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
