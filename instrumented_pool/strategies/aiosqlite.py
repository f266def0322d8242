"""SQLite, through aiosqlite."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from os import PathLike, fsdecode
from pathlib import PurePath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

try:
    import aiosqlite
except ImportError as error:
    raise ImportError(
        "AiosqliteConnectionStrategy needs aiosqlite: pip install 'instrumented-pool[aiosqlite]'", name="aiosqlite"
    ) from error

from .._strategy import ConnectionStrategy
from ..metrics import Attributes

__all__ = ["AiosqliteConnectionStrategy"]


class AiosqliteConnectionStrategy(ConnectionStrategy[aiosqlite.Connection]):
    """Connections are `aiosqlite.Connection`s, open and each with its thread.

    A transaction left open is rolled back. A cancelled statement goes on in the thread, and what it does would be done
    to the next borrower's transaction, so a connection is closed when somebody has given up a statement on it, and the
    statement is interrupted. Whatever else a borrower sets (`row_factory`, a PRAGMA) stays: set it in `factory`, a
    subclass of `sqlite3.Connection`, and every connection has it.

    `":memory:"` and `""` are a database of its own for each connection, gone with it, which a pool of them is hardly
    meant to be. `"file:NAME?mode=memory&cache=shared"` with `uri=True` is one for all, while a connection is open, so
    let `min_size` be 1.

    Args:
        database: the file's path.
        check_after: seconds that a connection lies idle until it is made to read the file; None for never.
        iter_chunk_size: rows that iterating over a cursor fetches at once.
        **kwargs: what `sqlite3.connect` takes. Its `timeout` is seconds to wait for a lock, 5 by default, which nothing
            cuts short: let it be less than the pool's `close_timeout`.
    """

    def __init__(
        self,
        database: str | bytes | PathLike[str] | PathLike[bytes],
        *,
        check_after: float | None = None,
        iter_chunk_size: int = 64,
        **kwargs: Any,
    ) -> None:
        self.check_after = check_after
        self._name = fsdecode(database)
        self._kwargs = kwargs
        self._iter_chunk_size = iter_chunk_size

    @property
    def attributes(self) -> Attributes:
        """That it is SQLite, and the file's name, without its directory and a URI's options."""
        uri = self._kwargs.get("uri") and self._name.startswith("file:")
        path = unquote(urlsplit(self._name).path) if uri else self._name
        return {"db.system.name": "sqlite", "db.namespace": PurePath(path).name}

    async def create_connection(self) -> aiosqlite.Connection:
        """Start a thread that opens the file. If cancelled, the thread ends as soon as it has opened it.

        Raises:
            sqlite3.OperationalError: it cannot be opened.
        """
        connect = partial(sqlite3.connect, self._name, **self._kwargs)
        opening = asyncio.ensure_future(_Connection(connect, self._iter_chunk_size))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_stop)
            raise

    def connection_is_closed(self, conn: aiosqlite.Connection) -> bool:
        """Say whether somebody has closed it. The file is not looked at."""
        try:
            _ = conn.in_transaction
        except (ValueError, sqlite3.ProgrammingError):
            return True
        return False

    def connection_is_reusable(self, conn: aiosqlite.Connection, error: BaseException) -> bool:
        """Whatever was raised: unless a statement goes on that nobody waits for."""
        return not _is_abandoned(conn)

    def reset_connection(self, conn: aiosqlite.Connection) -> Awaitable[None] | None:
        """Roll back what was not committed."""
        if _is_abandoned(conn):
            raise RuntimeError("given back while a statement goes on that nobody waits for")
        if self.connection_is_closed(conn) or not conn.in_transaction:
            return None
        return conn.rollback()

    async def check_connection(self, conn: aiosqlite.Connection) -> None:
        """Read the head of the file."""
        await conn.execute_fetchall("PRAGMA schema_version")
        if conn.in_transaction:  # with `autocommit=False` reading begins one, and an idle connection must lock nothing
            await conn.rollback()

    async def close_connection(self, conn: aiosqlite.Connection) -> None:
        """Interrupt what is going on, close the file and end the thread; if cancelled meanwhile, in the background."""
        if not self.connection_is_closed(conn):
            await conn.interrupt()
            await conn.close()


class _Connection(aiosqlite.Connection):
    """Remembers that a statement was given up, whatever the borrower made of the cancellation."""

    abandoned = False

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except (asyncio.CancelledError, GeneratorExit):
            self.abandoned = True
            raise


def _is_abandoned(conn: aiosqlite.Connection) -> bool:
    return cast("_Connection", conn).abandoned


def _stop(opening: "asyncio.Future[aiosqlite.Connection]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().stop()
