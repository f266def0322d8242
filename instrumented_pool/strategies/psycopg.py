"""PostgreSQL, through psycopg 3 and its asynchronous connection."""

import contextlib
import inspect
import logging
import select
import socket
import traceback
from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

try:
    import psycopg
    from psycopg import AsyncConnection, IsolationLevel, generators
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import Conninfo, ExecStatus, PipelineStatus, TransactionStatus
    from psycopg.waiting import wait_async
except ImportError as error:
    raise ImportError(
        "PsycopgConnectionStrategy needs psycopg: pip install 'instrumented-pool[psycopg]', and where libpq is missing "
        "'psycopg[binary]'",
        name="psycopg",
    ) from error

from ..metrics import Attributes
from ._postgresql import Errand, PostgresStrategy, attributes_of

__all__ = ["PsycopgConnectionStrategy"]

_log = logging.getLogger("instrumented_pool")

_Connection: TypeAlias = AsyncConnection[Any]


class PsycopgConnectionStrategy(PostgresStrategy[_Connection]):
    """Connections are `psycopg.AsyncConnection` objects, each dialled before it is lent.

    **Nothing is committed for the borrower.** psycopg begins a transaction at the first command. One that is still
    open when the body is over is rolled back, and a warning is logged, once, if the body ended well.
    `psycopg_pool.AsyncConnectionPool.connection()` commits there. So commit, or write `async with conn.transaction()`,
    or give `autocommit=True`, which also saves the round trip of the rollback where nothing but reading is done.

    What else a borrower changed is put back: `autocommit`, `isolation_level`, `read_only`, `deferrable`,
    `prepare_threshold`, `prepared_max`, the factories of rows and cursors, and handlers of notices and notifications,
    with the `LISTEN` that goes with those. Registered adapters stay, and what the session was told in SQL: for that
    give `reset`. A connection in pipeline mode, in a two-phase transaction, or with a command in flight, is closed, not
    lent again.

    A connection survives the cancellation of its borrower, for psycopg has the server cancel the command in flight,
    and waits until it has. That can keep the cancelled task for 10 s where the server does not answer.

    Args:
        conninfo: the server's URL (`postgresql://`) or `key=value` pairs; what it leaves out is taken from keywords,
            from `PGHOST` etc. and from psycopg's defaults.
        init: awaited with each new connection, to set it up; it must leave no transaction open.
        reset: awaited with each connection that comes back, after what can be seen has been undone; as above.
        check_after: seconds of idleness until a connection is tried with `SELECT 1`, in the background.
        **kwargs: what `psycopg.AsyncConnection.connect` takes. `connect_timeout` is in whole seconds, 130 where none
            is given.

    Raises:
        ValueError: `conninfo` cannot be understood. Its text is not repeated, for it may hold a password.
        TypeError: an argument that neither psycopg nor libpq knows.
    """

    def __init__(
        self,
        conninfo: str = "",
        *,
        init: Errand[_Connection] | None = None,
        reset: Errand[_Connection] | None = None,
        check_after: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(_attributes(conninfo, kwargs), init=init, reset=reset, check_after=check_after)
        self._conninfo = conninfo
        self._kwargs = kwargs
        self._as_made: WeakKeyDictionary[_Connection, _Settings] = WeakKeyDictionary()
        self._warned = False

    def connection_is_closed(self, conn: _Connection) -> bool:
        """Say whether the socket is closed, or the server has hung up. Sends nothing.

        The event loop does not watch the socket of an idle connection. What has arrived is read, which does not wait:
        notices and notifications stay with libpq for the next borrower, and the end shows.
        """
        try:
            while not conn.closed and _is_readable(conn.pgconn.socket):
                conn.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return conn.closed

    async def check_connection(self, conn: _Connection) -> None:
        """Have the server answer."""
        # Not by execute(): that would begin a transaction, and, when cut short, try for 10 s to cancel the query.
        async with conn.lock:  # tells _hang_up() that the socket is being waited for
            try:
                conn.pgconn.send_query(b"SELECT 1")
                results = await wait_async(generators.execute(conn.pgconn), conn.pgconn.socket, interval=1.0)
            except BaseException:
                conn.pgconn.finish()  # nobody waits for the socket any more, and _hang_up() may have been here
                raise
        if [result.status for result in results] != [ExecStatus.TUPLES_OK]:
            raise psycopg.OperationalError("the server does not answer SELECT 1")

    def close_connection(self, conn: _Connection) -> None:
        """Tell the server, as far as that needs no waiting, and close the socket."""
        self._hang_up(conn)

    async def _dial(self) -> _Connection:
        try:
            return await AsyncConnection.connect(self._conninfo, **self._kwargs)
        except BaseException as error:  # cancelled, or out of time
            # psycopg leaves the socket to the garbage collector, and the traceback would keep it.
            traceback.clear_frames(error.__traceback__)
            raise

    def _note_made(self, conn: _Connection) -> None:
        _check_settled(conn, "init")
        self._as_made[conn] = _settings_of(conn)

    def _hang_up(self, conn: _Connection) -> None:
        if not conn.lock.locked() or conn.closed:
            conn.pgconn.finish()
            return
        # A task still waits for the socket. Were it closed, the event loop would watch the next one of that number in
        # its place. So it is shut down, which wakes the task, and has libpq close it.
        sock = socket.socket(fileno=conn.pgconn.socket)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.detach()

    def _undo(self, conn: _Connection, *, failed: bool) -> Awaitable[None] | None:
        pgconn = conn.pgconn
        status = pgconn.transaction_status
        if status == TransactionStatus.UNKNOWN:
            return None
        if status == TransactionStatus.ACTIVE or pgconn.pipeline_status != PipelineStatus.OFF:
            raise psycopg.InterfaceError("the connection came back in pipeline mode, or with a command in flight")
        if conn._tpc is not None:  # also when that is prepared, which leaves the session itself idle
            raise psycopg.InterfaceError("the connection came back in a two-phase transaction")
        as_made = self._as_made[conn]
        if status == TransactionStatus.IDLE and _settings_of(conn) == as_made:
            return None
        if status == TransactionStatus.INTRANS and not failed:
            self._warn()
        return _restore(conn, as_made)

    async def _also(self, reset: Errand[_Connection], conn: _Connection, undoing: Awaitable[None] | None) -> None:
        await super()._also(reset, conn, undoing)
        _check_settled(conn, "reset")

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "A body that ended well left a transaction open, and it was rolled back: psycopg begins one at the "
                "first command. Commit it, or use conn.transaction() or autocommit=True. This is not said again."
            )


class _Settings(NamedTuple):
    """What a borrower may change without a word to the server."""

    autocommit: bool
    isolation_level: IsolationLevel | None
    read_only: bool | None
    deferrable: bool | None
    prepare_threshold: int | None
    prepared_max: int | None
    row_factory: Any
    cursor_factory: Any
    server_cursor_factory: Any
    notice_handlers: tuple[Any, ...]
    notify_handlers: tuple[Any, ...]


def _settings_of(conn: _Connection) -> _Settings:
    return _Settings(
        conn.autocommit,
        conn.isolation_level,
        conn.read_only,
        conn.deferrable,
        conn.prepare_threshold,
        conn.prepared_max,
        conn.row_factory,
        conn.cursor_factory,
        conn.server_cursor_factory,
        tuple(conn._notice_handlers),
        tuple(conn._notify_handlers),
    )


async def _restore(conn: _Connection, as_made: _Settings) -> None:
    """Roll back, and put the settings back, which sends nothing; listening ends where a handler for it was left."""
    await conn.rollback()
    if tuple(conn._notify_handlers) != as_made.notify_handlers:
        await conn.set_autocommit(True)
        await conn.execute("UNLISTEN *")
    await conn.set_autocommit(as_made.autocommit)
    await conn.set_isolation_level(as_made.isolation_level)
    await conn.set_read_only(as_made.read_only)
    await conn.set_deferrable(as_made.deferrable)
    conn.prepare_threshold = as_made.prepare_threshold
    conn.prepared_max = as_made.prepared_max
    conn.row_factory = as_made.row_factory
    conn.cursor_factory = as_made.cursor_factory
    conn.server_cursor_factory = as_made.server_cursor_factory
    conn._notice_handlers[:] = as_made.notice_handlers
    conn._notify_handlers[:] = as_made.notify_handlers


def _check_settled(conn: _Connection, errand: str) -> None:
    status = conn.pgconn.transaction_status
    if status != TransactionStatus.IDLE:
        raise psycopg.ProgrammingError(
            f"{errand} left the connection {TransactionStatus(status).name}: it must commit, or roll back"
        )


def _is_readable(fileno: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([fileno], [], [], 0)[0])
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    return bool(poll.poll(0))


def _attributes(conninfo: str, kwargs: dict[str, Any]) -> Attributes:
    """Have libpq read the arguments and the environment, as it will to connect, but not dial."""
    options = {option.keyword.decode(): option.val for option in Conninfo.get_defaults()}
    known = {*options, *inspect.signature(AsyncConnection.connect).parameters}
    if unknown := sorted(set(kwargs) - known):
        raise TypeError(f"{unknown[0]!r} is an argument of neither psycopg.AsyncConnection.connect nor libpq")
    try:
        given = conninfo_to_dict(conninfo, **kwargs)
    except psycopg.ProgrammingError:
        raise ValueError(
            "not a PostgreSQL connection string: it is neither a URL (postgresql://) nor key=value pairs with "
            "libpq's keywords"
        ) from None
    if "service" not in given:  # what a service's file says is not known here
        given = {**{name: value.decode() for name, value in options.items() if value}, **given}
    host, port = str(given.get("host") or given.get("hostaddr") or ""), str(given.get("port") or "")
    if not all(each.isdigit() for each in port.split(",") if each):
        # Not repeated either: it is a piece of the password where that holds a '/'.
        raise ValueError("not a PostgreSQL connection string: its port is not a number")
    if host.startswith("/"):
        servers: list[tuple[str, int | None]] = [(f"{host}/.s.PGSQL.{port}", None)]
    else:
        servers = [(host, int(port) if port.isdigit() else None)] if host else []
    return attributes_of([] if "," in host else servers, str(given.get("dbname") or given.get("user") or ""))
