"""`AiosqliteConnectionStrategy` against SQLite itself, on files."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from instrumented_pool import CloseError, ConnectionPool
from instrumented_pool.strategies.aiosqlite import AiosqliteConnectionStrategy
from instrumented_pool.testing import RecordingObserver, sweep_cancellations
from support.waits import eventually

LONG = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 50000000) SELECT count(*) FROM n"

Pool = ConnectionPool[aiosqlite.Connection]


def threads() -> list[threading.Thread]:
    """Those of aiosqlite's connections."""
    return [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """After every test: it would keep the process from ending."""
    yield
    for thread in threads():
        thread.join(timeout=60)
    assert not threads()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with one empty table."""
    path = tmp_path / "orders.db"
    with sqlite3.connect(path) as conn:
        conn.execute("CREATE TABLE orders (item TEXT)")
    conn.close()
    return path


class Gate(sqlite3.Connection):
    """Its SQL function `pass_gate()` ends when the test opens the gate."""

    opened = threading.Event()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.create_function("pass_gate", 0, lambda: self.opened.wait(10) and "through")


@pytest.fixture(autouse=True)
def gate() -> Iterator[threading.Event]:
    """Shut, until the test opens it."""
    Gate.opened.clear()
    yield Gate.opened
    Gate.opened.set()


async def order(conn: aiosqlite.Connection, item: str) -> None:
    """Not committed."""
    await conn.execute("INSERT INTO orders VALUES (?)", (item,))


async def orders(conn: aiosqlite.Connection) -> list[str]:
    return [item for (item,) in await conn.execute_fetchall("SELECT item FROM orders")]


async def test_connections_of_a_pool_see_one_file_and_end_with_their_threads(file: Path) -> None:
    """The whole way round, with an argument of sqlite3's."""
    pool = ConnectionPool(strategy=AiosqliteConnectionStrategy(file, isolation_level="IMMEDIATE"), max_size=2)
    async with pool:
        async with pool.get_connection() as conn, pool.get_connection() as other:
            assert conn.isolation_level == "IMMEDIATE"
            await order(conn, "tea")
            await conn.commit()
            assert await orders(other) == ["tea"]
        assert len(threads()) == 2
    assert pool.stats().close_errors == 0
    await eventually(lambda: not threads())


async def test_file_that_cannot_be_opened_fails_at_creation(tmp_path: Path) -> None:
    """And leaves no thread behind."""
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await AiosqliteConnectionStrategy(tmp_path / "no" / "such.db").create_connection()
    await eventually(lambda: not threads())


@pytest.mark.parametrize("outcome", [None, sqlite3.OperationalError("of nobody's interest")], ids=["opens", "fails"])
async def test_cancelled_creation_leaves_no_thread_behind(
    file: Path, gate: threading.Event, outcome: Exception | None
) -> None:
    """Cancelled while the thread opens the file: it goes on, then closes it again."""
    did: list[str] = []

    class Slow(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            did.append("opened")
            gate.wait(10)
            if outcome is not None:
                self.close()
                raise outcome

        def close(self) -> None:
            did.append("closed")
            super().close()

    creation = asyncio.create_task(AiosqliteConnectionStrategy(file, factory=Slow).create_connection())
    await eventually(lambda: bool(did))
    creation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation
    gate.set()
    await eventually(lambda: not threads())
    assert did == ["opened", "closed"]


async def test_transaction_left_open_is_rolled_back(file: Path) -> None:
    """After a body that failed and after one that forgot to commit; the connection stays."""
    async with ConnectionPool(strategy=AiosqliteConnectionStrategy(file), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await order(conn, "forgotten")
        with contextlib.suppress(ConnectionError):
            async with pool.get_connection() as conn:
                await order(conn, "failed")
                raise ConnectionError
        async with pool.get_connection() as conn:
            assert not conn.in_transaction
            assert await orders(conn) == []
        assert pool.stats().created == 1


async def two_statements(conn: aiosqlite.Connection) -> None:
    """At once, and cut short while the first is at work: the second stays in the thread's queue."""
    async with asyncio.timeout(0.01):
        await asyncio.gather(conn.execute("SELECT pass_gate()"), order(conn, "late"))


async def test_statement_cut_short_goes_on_in_the_thread(file: Path, gate: threading.Event) -> None:
    """Why such a connection is not reusable: what it does late would be in the next borrower's transaction."""
    async with aiosqlite.connect(file, factory=Gate) as conn:
        with pytest.raises(TimeoutError):
            await two_statements(conn)
        assert not conn.in_transaction, "a reset that looks now sees nothing to roll back"
        gate.set()
        await order(conn, "mine")
        await conn.commit()
        assert await orders(conn) == ["late", "mine"]


async def test_statement_cut_short_does_not_reach_the_next_borrower(file: Path, gate: threading.Event) -> None:
    """Its connection is closed, and the statement interrupted."""
    strategy = AiosqliteConnectionStrategy(file, factory=Gate)
    async with ConnectionPool(strategy=strategy, max_size=1, close_errors="observe") as pool:
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as conn:
                await two_statements(conn)
        gate.set()
        async with pool.get_connection() as conn:
            await order(conn, "mine")
            await conn.commit()
            assert await orders(conn) == ["mine"]
        assert pool.stats().closed["dirty"] == 1


async def test_body_that_catches_its_time_out_does_not_hide_it(file: Path, gate: threading.Event) -> None:
    """It ends as if nothing were amiss, yet a statement goes on: the connection is closed, and observers hear why."""
    recorder = RecordingObserver()
    pool = ConnectionPool(
        strategy=AiosqliteConnectionStrategy(file, factory=Gate),
        max_size=1,
        close_errors="observe",
        observers=[recorder],
    )
    async with pool:
        async with pool.get_connection() as conn:
            with contextlib.suppress(TimeoutError):
                await two_statements(conn)
        gate.set()
        async with pool.get_connection() as conn:
            assert await orders(conn) == []
        assert pool.stats().closed["dirty"] == 1
    told = "given back while a statement goes on that nobody waits for"
    assert [str(event.error) for event in recorder.of(CloseError)] == [told]


async def test_connection_of_a_body_cancelled_between_statements_is_kept(file: Path) -> None:
    """Its thread has answered everything, and its transaction is rolled back as any other."""
    async with ConnectionPool(strategy=AiosqliteConnectionStrategy(file), max_size=1) as pool:
        ordered = asyncio.Event()

        async def body() -> None:
            async with pool.get_connection() as conn:
                await order(conn, "half")
                ordered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(body())
        await ordered.wait()
        task.cancel()
        await asyncio.wait([task])
        async with pool.get_connection() as conn:
            assert await orders(conn) == []
        assert pool.stats().created == 1


async def test_close_interrupts_what_goes_on(file: Path) -> None:
    """A statement of many seconds, given up by its borrower, ends with its connection."""
    pool = ConnectionPool(strategy=AiosqliteConnectionStrategy(file), max_size=1, close_timeout=2.0)
    goes_on = threading.Event()

    async def body() -> None:
        async with pool.get_connection() as conn:
            await conn.set_progress_handler(goes_on.set, 1000)
            await conn.execute(LONG)

    async with pool:
        task = asyncio.create_task(body())
        await eventually(goes_on.is_set)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert pool.stats().close_errors == 0
    await eventually(lambda: not threads())


async def test_close_cut_short_is_finished_in_the_background(file: Path, gate: threading.Event) -> None:
    """The pool's `close_timeout` ends the wait for a thread that hangs; it ends when it can."""
    strategy = AiosqliteConnectionStrategy(file, factory=Gate)
    async with ConnectionPool(strategy=strategy, max_size=1, close_timeout=0.05) as pool:
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as conn, asyncio.timeout(0.05):
                await conn.execute("SELECT pass_gate()")
    assert pool.stats().close_errors == 1
    assert threads()
    gate.set()
    await eventually(lambda: not threads())


@pytest.mark.parametrize("repeatedly", [False, True])
def test_caller_cancelled_anywhere_leaves_no_thread_and_no_transaction_behind(file: Path, repeatedly: bool) -> None:
    """While it opens the file, writes, or gives the connection back."""
    recorder = RecordingObserver()

    async def setup() -> Pool:
        return ConnectionPool(strategy=AiosqliteConnectionStrategy(file), max_size=1, observers=[recorder])

    async def scenario(pool: Pool) -> None:
        async with pool.get_connection() as conn:
            await order(conn, "mine")
            await conn.execute_fetchall("SELECT item FROM orders")

    async def check(pool: Pool) -> None:
        async with pool, pool.get_connection(timeout=5.0) as conn:
            assert not conn.in_transaction
            assert await orders(conn) == []
        await eventually(lambda: not threads())

    steps = sweep_cancellations(scenario, setup=setup, check=check, repeatedly=repeatedly, max_steps=1_000_000)
    assert steps > 10
    recorder.assert_paired()


async def test_connection_closed_by_its_borrower_is_replaced(file: Path) -> None:
    """`connection_is_closed` sees it, and closing it once more does no harm."""
    async with ConnectionPool(strategy=AiosqliteConnectionStrategy(file), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.close()
        async with pool.get_connection() as conn:
            assert await orders(conn) == []
        assert pool.stats().closed["stale"] == 1
        assert pool.stats().close_errors == 0


@contextlib.asynccontextmanager
async def connection_of(strategy: AiosqliteConnectionStrategy) -> AsyncIterator[aiosqlite.Connection]:
    """One of its connections, without a pool."""
    conn = await strategy.create_connection()
    try:
        yield conn
    finally:
        await strategy.close_connection(conn)


async def test_file_spoilt_under_an_idle_connection_is_found_out_by_the_check(file: Path) -> None:
    """The connection looks alive, for SQLite reads the file only when it must."""
    strategy = AiosqliteConnectionStrategy(file, check_after=1.0)
    async with connection_of(strategy) as conn:
        await strategy.check_connection(conn)
        await asyncio.to_thread(file.write_bytes, b"not a database" * 1000)
        assert not strategy.connection_is_closed(conn)
        with pytest.raises(sqlite3.DatabaseError):
            await strategy.check_connection(conn)


async def test_check_leaves_no_transaction_open(file: Path) -> None:
    """As reading would in a connection that is always in one (`autocommit=False` of Python 3.12)."""

    class Always(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.execute("BEGIN")

    strategy = AiosqliteConnectionStrategy(file, factory=Always)
    async with connection_of(strategy) as conn:
        await strategy.check_connection(conn)
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as other:
            other.execute("DROP TABLE orders")


@pytest.mark.parametrize(
    ("database", "uri", "name"),
    [
        ("/srv/shop/orders.db", False, "orders.db"),
        (Path("orders.db"), False, "orders.db"),
        ("file:/srv/my%20shop/orders.db?mode=ro&key=hunter2", True, "orders.db"),
        ("file::memory:?cache=shared", True, ":memory:"),
        (":memory:", False, ":memory:"),
    ],
)
def test_exporters_are_told_the_name_of_the_file(database: str | Path, uri: bool, name: str) -> None:
    """Not its directory, nor the options of a URI, which may hold a key."""
    strategy = AiosqliteConnectionStrategy(database, uri=uri)
    pool = ConnectionPool(strategy=strategy, max_size=1)
    assert pool.attributes == {"db.system.name": "sqlite", "db.namespace": name}


def test_missing_driver_names_the_extra() -> None:
    """Without aiosqlite the import says what to install."""
    script = "import sys; sys.modules['aiosqlite'] = None; import instrumented_pool.strategies.aiosqlite"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    wanted = "ImportError: AiosqliteConnectionStrategy needs aiosqlite: pip install 'instrumented-pool[aiosqlite]'"
    assert wanted in done.stderr
