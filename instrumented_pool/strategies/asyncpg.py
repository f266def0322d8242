"""PostgreSQL, through asyncpg."""

import asyncio
import gc
import inspect
from collections.abc import Awaitable
from functools import partial
from typing import Any

try:
    import asyncpg  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(
        "AsyncpgConnectionStrategy needs asyncpg: pip install 'instrumented-pool[asyncpg]'", name="asyncpg"
    ) from error

from asyncpg.connect_utils import _parse_connect_arguments  # type: ignore[import-untyped]

from ..metrics import Attributes
from ._postgresql import Errand, PostgresStrategy, attributes_of

__all__ = ["AsyncpgConnectionStrategy"]


class AsyncpgConnectionStrategy(PostgresStrategy[asyncpg.Connection]):
    """Connections are `asyncpg.Connection` objects, each dialled before it is lent.

    What comes back is reset where something can be seen, from here, to have been left: an open transaction is rolled
    back (asyncpg tells the event loop's exception handler of it), listeners are removed. To have each return reset,
    as `asyncpg.Pool` does, for a round trip each: `reset=asyncpg.Connection.reset`. That also drops what cannot be
    seen: settings of the session, advisory locks, cursors, a `LISTEN` sent as SQL.

    A connection survives the cancellation of its borrower: asyncpg has the server cancel the command in flight, and
    the connection is lent again when the server has confirmed that.

    Args:
        dsn: the server's URL (`postgresql://`), or None, to name it by `host`, `port` etc. or by `PGHOST` etc.
        init: awaited with each new connection, to set it up, such as with codecs.
        reset: awaited with each connection that comes back, after what can be seen has been undone.
        check_after: seconds of idleness until a connection is tried with `SELECT 1`, in the background.
        **kwargs: what `asyncpg.connect` takes. Its `timeout`, of dialling, is in seconds, 60 where none is given.

    Raises:
        ValueError: the DSN or an argument cannot be understood. A DSN is not repeated, for it may hold a password.
        TypeError: an argument that asyncpg does not know.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        init: Errand[asyncpg.Connection] | None = None,
        reset: Errand[asyncpg.Connection] | None = None,
        check_after: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(_attributes(dsn, kwargs), init=init, reset=reset, check_after=check_after)
        self._connect = partial(asyncpg.connect, dsn, **kwargs)

    def connection_is_closed(self, conn: asyncpg.Connection) -> bool:
        """Say whether the connection is closed, as far as the event loop has been told. Sends nothing."""
        return bool(conn.is_closed() or conn._transport.is_closing())

    async def check_connection(self, conn: asyncpg.Connection) -> None:
        """Have the server answer."""
        await conn.execute("SELECT 1")

    async def close_connection(self, conn: asyncpg.Connection) -> None:
        """Take leave of the server and see the socket closed; cut short, close it at once."""
        try:
            await conn.close()
        finally:
            conn._transport.abort()  # asyncpg before 0.32 leaves it open where the close is cut short

    async def _dial(self) -> asyncpg.Connection:
        return await self._connect()

    def _hang_up(self, conn: asyncpg.Connection) -> None:
        conn.terminate()

    def _undo(self, conn: asyncpg.Connection, *, failed: bool) -> Awaitable[None] | None:
        protocol = conn._protocol
        if conn.is_closed() or protocol is None:
            return None
        # `_top_xact` outlives a BEGIN that was cancelled. After an error a command may still be in flight, of which
        # asyncpg tells nobody but who sends the next: it refuses that one.
        if (
            failed
            or conn.is_in_transaction()
            or conn._top_xact is not None
            or conn._listeners
            or conn._log_listeners
            or protocol._is_cancelling()
        ):
            return _reset(conn, protocol)
        if _is_busy(protocol):
            raise asyncpg.InterfaceError("given back with a command in flight")
        return None


def _is_busy(protocol: Any) -> bool:
    """Whether a command is in flight: only what waits for its reply tells, which asyncpg keeps to itself."""
    return asyncio.Future in map(type, gc.get_referents(protocol))


async def _reset(conn: asyncpg.Connection, protocol: Any) -> None:
    # Only when the server has confirmed a cancellation is it known whether that came too late, after a BEGIN.
    await protocol._wait_for_cancellation()
    await conn.reset()


def _attributes(dsn: str | None, kwargs: dict[str, Any]) -> Attributes:
    """Have asyncpg read its arguments, the environment and its files, as it will to connect, but not dial."""
    given = inspect.signature(asyncpg.connect).bind(dsn, **kwargs)
    given.apply_defaults()
    wanted = inspect.signature(_parse_connect_arguments).parameters
    try:
        servers, parameters, _ = _parse_connect_arguments(
            **{name: value for name, value in given.arguments.items() if name in wanted}
        )
    except ValueError as error:
        if dsn is None:
            raise
        # What cannot be read is quoted, and is a piece of the password where that holds a '/'.
        why = str(error) if "scheme" in str(error) else "check its port and its options"
        raise ValueError(f"not a PostgreSQL DSN: {why}") from None
    addresses = [(each, None) if isinstance(each, str) else each for each in servers]
    return attributes_of(addresses, parameters.database or parameters.user)
