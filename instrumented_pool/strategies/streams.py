"""Plain asyncio streams over TCP, TLS and UNIX sockets: the module to copy for what has none here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from os import PathLike, fspath
from typing import Any, NamedTuple, TypeAlias

from .._strategy import ConnectionStrategy
from ..metrics import Attributes

__all__ = ["Stream", "StreamsConnectionStrategy"]


class Stream(NamedTuple):
    """A connection: `stream.reader` and `stream.writer`, or `reader, writer = stream`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


Check: TypeAlias = Callable[[Stream], Awaitable[object]]


class StreamsConnectionStrategy(ConnectionStrategy[Stream]):
    """Connections are pairs of an `asyncio.StreamReader` and an `asyncio.StreamWriter`.

    Streams know no protocol, so what cannot be seen from outside counts as spoilt: after a body that raised anything a
    connection is closed, for a reply may be on its way, and so is one with bytes that its borrower left unread. A body
    that catches its own time-out and goes on must say so: `stream.writer.close()`.

    Args:
        host: the server's name or address. Either this and `port`, or `path`.
        port: its TCP port.
        path: its UNIX socket, in place of `host` and `port`.
        connect_timeout: seconds for all of looking up the name, connecting and the TLS handshake; None for no limit.
        check: asks the server something (a ping of its protocol) and raises unless it has read the right reply.
        check_after: seconds that a connection lies idle before `check` is asked; None for never.
        **kwargs: what `asyncio.open_connection` or `asyncio.open_unix_connection` takes: `ssl`, `limit` etc.

    Raises:
        ValueError: not exactly one of `port` and `path`, or only one of `check` and `check_after`.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        *,
        path: str | PathLike[str] | None = None,
        connect_timeout: float | None = 10.0,
        check: Check | None = None,
        check_after: float | None = None,
        **kwargs: Any,
    ) -> None:
        if (port is None) == (path is None):
            raise ValueError("StreamsConnectionStrategy takes either host and port, or path")
        if (check is None) != (check_after is None):
            raise ValueError("check and check_after go together: streams know no protocol, so only you can ask")
        self._host, self._port, self._path = host, port, path
        self._connect_timeout = connect_timeout
        self._check = check
        self.check_after = check_after
        self._kwargs = kwargs

    @property
    def attributes(self) -> Attributes:
        """Where the server is."""
        if self._path is not None:
            return {"server.address": fspath(self._path)}
        assert self._port is not None
        return {"server.address": self._host, "server.port": self._port}

    async def create_connection(self) -> Stream:
        """Connect.

        Raises:
            TimeoutError: not connected within `connect_timeout`.
            OSError: the server cannot be found or reached (`ssl.SSLError`: or is not who it should be).
        """
        async with asyncio.timeout(self._connect_timeout):
            if self._path is not None:
                return Stream(*await asyncio.open_unix_connection(self._path, **self._kwargs))
            return Stream(*await asyncio.open_connection(self._host, self._port, **self._kwargs))

    def connection_is_closed(self, conn: Stream) -> bool:
        """Say whether either side has hung up, or a reply has come to nobody, as far as this side has been told."""
        reader, writer = conn
        return writer.is_closing() or reader.at_eof() or reader.exception() is not None or _unread(reader) > 0

    def connection_is_reusable(self, conn: Stream, error: BaseException) -> bool:
        """Never: whatever ended the body, it may have been waiting for a reply, which the next borrower would read."""
        return False

    def reset_connection(self, conn: Stream) -> None:
        """Refuse a connection whose borrower has left a reply unread."""
        if unread := _unread(conn.reader):
            raise ValueError(f"given back with {unread} bytes unread")

    async def check_connection(self, conn: Stream) -> None:
        """Ask the server by way of `check`."""
        assert self._check is not None
        await self._check(conn)
        self.reset_connection(conn)

    async def close_connection(self, conn: Stream) -> None:
        """Send what is still to be sent, say good-bye, and see the socket closed; cut it if cancelled meanwhile."""
        conn.writer.close()
        try:
            with contextlib.suppress(OSError):  # the peer was faster, or rude
                await conn.writer.wait_closed()
        except BaseException:  # out of time: the peer reads nothing, or leaves TLS's good-bye unanswered
            conn.writer.transport.abort()
            raise


def _unread(reader: asyncio.StreamReader) -> int:
    """Bytes that have come and that nobody has read: asyncio has no public word for them."""
    return len(reader._buffer)  # type: ignore[attr-defined]  # and typeshed has none at all
