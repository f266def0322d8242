"""Redis and Valkey, through redis-py's asyncio client."""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, cast

try:
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.connection import AbstractConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.client import CaseInsensitiveDict
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import ResponseError
except ImportError as error:
    raise ImportError(
        "RedisConnectionStrategy needs redis-py: pip install 'instrumented-pool[redis]'", name="redis"
    ) from error

from .._strategy import ConnectionStrategy
from ..metrics import Attributes

__all__ = ["RedisConnectionStrategy"]

_OURS = ("auto_close_connection_pool", "connection_pool", "max_connections", "single_connection_client")
_CHANGING = ("MULTI", "SELECT")  # commands that change what those after them do, and that can be undone
_SPOILING = ("AUTH", "HELLO", "MONITOR", "PSUBSCRIBE", "RESET", "SSUBSCRIBE", "SUBSCRIBE")  # those that cannot
_RETRIES = ("retry", "retry_on_error", "retry_on_timeout")


class RedisConnectionStrategy(ConnectionStrategy[Redis]):
    """Connections are `redis.asyncio.Redis` clients, each on exactly one TCP connection, dialled before it is lent.

    Commands, pipelines, transactions, locks and pub/sub of one client all share that one connection, and tasks that
    share the client take turns on it. It is never redialled in secret: when it breaks, the command in flight and all
    later ones raise `redis.ConnectionError`, and the pool replaces the client at the next hand-out, so every dial is
    an event of the pool's. redis-py retries ten times by default; here it does not, unless `retry`, `retry_on_error`
    or `retry_on_timeout` is given: then commands and dials are retried, and broken connections redialled, as redis-py
    does it. A client that comes back with a pipeline or a pub/sub still open on it is replaced, not lent again.

    Args:
        *args: the server's URL (`redis://`, `rediss://` or `unix://`), or nothing, to name it by `host`, `port` etc.
        **kwargs: what `redis.asyncio.Redis` takes. `socket_timeout` and `socket_connect_timeout` are seconds; redis-py
            8 gives both 5 where none is set.

    Raises:
        ValueError: the URL cannot be understood. Its text is not repeated, for it may hold a password.
        TypeError: an argument that redis-py does not know, or one of those that this class must set itself:
            `single_connection_client`, `max_connections`, `connection_pool`, `auto_close_connection_pool`.
    """

    def __init__(self, *args: Any, check_after: float | None = None, **kwargs: Any) -> None:
        if clash := [name for name in _OURS if name in kwargs]:
            raise TypeError(
                f"RedisConnectionStrategy sets {clash[0]} itself: each of its connections is a client with exactly "
                "one TCP connection, and how many there are is the pool's max_size and burst_limit"
            )
        self.check_after = check_after
        self._redial = any(kwargs.get(name) for name in _RETRIES)
        if not self._redial:
            kwargs["retry"] = Retry(NoBackoff(), 0)
        self._template = _template(args, kwargs).connection_pool
        first = self._template.make_connection()  # type: ignore[no-untyped-call]
        self._tls = getattr(first, "ssl_context", None)

    @property
    def attributes(self) -> Attributes:
        """Where the server is, and the number of the database."""
        known = self._template.connection_kwargs
        place = (
            {"server.address": known["path"]}
            if "path" in known
            else {"server.address": known.get("host", "localhost"), "server.port": int(known.get("port", 6379))}
        )
        return {"db.system.name": "redis", "db.namespace": str(known.get("db") or 0), **place}

    async def create_connection(self) -> Redis:
        """Dial the server and greet it (`HELLO`, `AUTH`, `SELECT` as configured).

        Raises:
            redis.ConnectionError, redis.TimeoutError: the server cannot be reached, or does not answer in time.
            redis.AuthenticationError: it does not accept the credentials.
        """
        line = _Line(self._template, tls=self._tls, redial=self._redial)
        await line.dial()
        client = Redis(connection_pool=line)
        client.response_callbacks = _Callbacks(client.response_callbacks, line)
        return client

    def connection_is_closed(self, conn: Redis) -> bool:
        """Say whether the socket is gone, as far as this side has been told, or is still taken. Sends nothing."""
        line = _line_of(conn)
        return line.is_dead() or line.is_taken()

    def reset_connection(self, conn: Redis) -> Awaitable[None] | None:
        """Leave a transaction or a database that the borrower has gone into; refuse a client that is still in use."""
        line = _line_of(conn)
        if line.is_taken():
            raise RuntimeError("given back with a pipeline, a pub/sub or a command still open on it")
        if line.spoilt:
            raise RuntimeError(f"given back after a command that cannot be undone: one of {', '.join(_SPOILING)}")
        return line.restore(conn) if line.changed and not line.is_dead() else None

    async def check_connection(self, conn: Redis) -> None:
        """Send a `PING`."""
        await conn.ping()

    async def close_connection(self, conn: Redis) -> None:
        """Close the socket, and see it closed."""
        await _line_of(conn).hang_up()


def _template(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Redis:
    """A client that is never used: redis-py has read and checked the arguments, and keeps what a connection needs."""
    if not args or not isinstance(args[0], str):
        return Redis(*args, **kwargs)
    try:
        return Redis.from_url(*args, **kwargs)
    except ValueError as error:
        # urllib quotes what it takes for the port, which is a piece of the password where that holds a '/'.
        why = str(error) if "scheme" in str(error) else "check its port and its options"
        raise ValueError(f"not a Redis URL: {why}") from None


class _Line(ConnectionPool):
    """The pool that redis-py wants inside each client, held to the one connection it begins with.

    redis-py's `single_connection_client` would not do: pipelines, locks and pub/sub open connections beside it. Nor
    do its pools, which count around each command, and give the connection to whichever task asks next, while others
    wait: a fifth of what a command costs.
    """

    def __init__(self, template: Any, *, tls: Any, redial: bool) -> None:
        super().__init__(max_connections=1, connection_class=template.connection_class, **template.connection_kwargs)
        self._redial = redial
        self._dialled = False
        self._turn = asyncio.Lock()
        self.changed = self.spoilt = False
        self._only: AbstractConnection = self.make_connection()  # type: ignore[no-untyped-call]
        self._available_connections.append(self._only)  # for what redis-py does to all connections of a pool
        if tls is not None:  # redis-py reads all of the system's authorities anew for each: 25 ms of the loop's time
            cast(Any, self._only).ssl_context = tls

    async def get_connection(self, *args: Any, **kwargs: Any) -> AbstractConnection:
        await self._turn.acquire()
        try:
            async with self._lock:  # as redis-py does it, whose handlers of a server's notices look at these
                self.get_available_connection()  # type: ignore[no-untyped-call]
            if self._redial or not self._dialled:
                await self.ensure_connection(self._only)
            elif self.is_dead():
                raise RedisConnectionError("This connection is broken; the pool replaces it when it is given back")
        except BaseException:
            self._give_back()
            raise
        return self._only

    async def release(self, connection: AbstractConnection) -> None:
        try:
            told_to_go = getattr(connection, "should_reconnect", None)  # by the server; of redis-py 7
            if told_to_go is not None and told_to_go():
                await connection.disconnect()
            await connection.re_auth()  # type: ignore[no-untyped-call]  # where the token was renewed meanwhile
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._in_use_connections.discard(self._only)
        self._available_connections[:] = [self._only]
        self._turn.release()

    def is_taken(self) -> bool:
        return self._turn.locked()

    async def dial(self) -> None:
        try:
            await self.release(await self.get_connection())
        except BaseException:
            await self._only.disconnect(nowait=True)
            raise
        self._dialled = True

    def is_dead(self) -> bool:
        # redis-py has no public word for this: its `is_connected` says only that nobody hung up on this side.
        reader, writer = cast(Any, self._only._reader), self._only._writer
        if reader is None or writer is None:
            return True
        # What has come unasked would be read as the next reply, and hides the end behind it. RESP3's pushes are no
        # replies, and redis-py reads past them.
        unasked = bytes(reader._buffer[:1]) not in (b"", b">")
        return unasked or writer.is_closing() or reader._eof or reader.exception() is not None

    async def hang_up(self) -> None:
        writer = self._only._writer
        try:
            await self._only.disconnect()
        except BaseException:
            if writer is not None:  # whoever cuts the wait short, and a peer that reads nothing, leave no socket behind
                writer.transport.abort()
            raise

    async def restore(self, client: Redis) -> None:
        with suppress(ResponseError):  # there may be no transaction to discard
            await client.execute_command("DISCARD")  # type: ignore[no-untyped-call]
        await client.select(int(self._only.db))
        self.changed = False


class _Callbacks(CaseInsensitiveDict):
    """What redis-py does with the reply to each command, of a client and of its pipelines: it looks here for all."""

    def __init__(self, callbacks: Mapping[Any, Any], line: _Line) -> None:
        super().__init__(dict(callbacks))
        self._line = line

    def __contains__(self, command: Any) -> bool:
        # redis-py takes "SELECT 3", b"SELECT" and " select" as well.
        name = (command if isinstance(command, str) else bytes(command).decode("latin-1")).lstrip().upper()
        if name.startswith(_CHANGING):
            self._line.changed = True
        elif name.startswith(_SPOILING):
            self._line.spoilt = True
        return bool(super().__contains__(command))  # type: ignore[no-untyped-call]


def _line_of(conn: Redis) -> _Line:
    return cast("_Line", conn.connection_pool)
