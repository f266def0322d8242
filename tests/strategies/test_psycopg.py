"""What `PsycopgConnectionStrategy` alone promises."""

import asyncio
import logging
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from instrumented_pool import Closed, ConnectionPool, Observer
from support.postgresql import PSYCOPG, Way, closed
from support.waits import eventually

pytestmark = pytest.mark.parametrize("way", [PSYCOPG], indirect=True, ids=["psycopg"])


class Peculiar(psycopg.AsyncServerCursor[Any]):
    """A borrower's own."""


async def test_settings_are_put_back_before_the_next_borrower(way: Way) -> None:
    """Those that psycopg keeps on this side, to what `init` and the arguments have made them."""
    async with ConnectionPool(strategy=way.strategy(autocommit=True), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.set_autocommit(False)
            await conn.set_isolation_level(IsolationLevel.SERIALIZABLE)
            await conn.set_read_only(True)
            await conn.set_deferrable(True)
            conn.prepare_threshold, conn.prepared_max = None, 1
            conn.row_factory = dict_row
            conn.cursor_factory = psycopg.AsyncClientCursor
            conn.server_cursor_factory = Peculiar
            conn.add_notice_handler(print)
        async with pool.get_connection() as conn:
            assert (conn.autocommit, conn.isolation_level, conn.read_only, conn.deferrable) == (True, None, None, None)
            assert await (await conn.execute("SELECT 1")).fetchone() == (1,)
            assert (conn.prepare_threshold, conn.prepared_max) == (5, 100)
            assert (conn.cursor_factory, conn.server_cursor_factory) == (psycopg.AsyncCursor, psycopg.AsyncServerCursor)
            assert not conn._notice_handlers
        assert pool.stats().created == 1


async def test_listening_ends_before_the_next_borrower(way: Way) -> None:
    """Where a handler of notifications shows that it was begun."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        async with pool.get_connection() as conn:
            conn.add_notify_handler(print)
            await conn.execute("LISTEN news")
            await conn.commit()
        async with pool.get_connection() as conn:
            cursor = await conn.execute("SELECT count(*) FROM pg_listening_channels()")
            assert await cursor.fetchone() == (0,)
            assert not conn._notify_handlers
            await conn.commit()
        assert pool.stats().created == 1


async def test_uncommitted_work_is_warned_of_once(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever comes from psycopg's own pool expects it to be committed."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        for _ in range(3):
            async with pool.get_connection() as conn:
                await conn.execute("CREATE TABLE uncommitted ()")
    (warning,) = caplog.records
    assert (warning.name, warning.levelno) == ("instrumented_pool", logging.WARNING)
    assert "rolled back" in warning.getMessage()


async def test_rollback_after_an_error_is_not_warned_of(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """That is what is wanted."""

    async def fail(pool: ConnectionPool[Any]) -> None:
        async with pool.get_connection() as conn:
            await conn.execute("SELECT 1")
            raise LookupError

    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        with pytest.raises(LookupError):
            await fail(pool)
        async with pool.get_connection() as conn:
            assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert not caplog.records


async def test_connection_left_in_pipeline_mode_is_not_lent_again(way: Way) -> None:
    """The next borrower would read replies of the one before."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.pipeline().__aenter__()
        async with pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
            await conn.commit()
        assert pool.stats().closed["dirty"] == 1


async def test_connection_left_in_a_two_phase_transaction_is_not_lent_again(way: Way) -> None:
    """Prepared, it leaves the session idle, and every commit of the next borrower would be refused."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.tpc_begin("mine")
            conn._tpc = (conn._tpc[0], True)  # as tpc_prepare() leaves it, for which this server is not configured
        async with pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
            await conn.commit()
        assert pool.stats().closed["dirty"] == 1


async def test_socket_is_not_closed_under_a_check_that_overruns(way: Way) -> None:
    """As under any other task that waits for it; that closes it in the end."""
    numbers: list[int] = []

    class Watcher(Observer):
        def on_closed(self, event: Closed) -> None:
            numbers.append(conn.fileno())

    strategy = way.strategy(check_after=0.01)
    async with ConnectionPool(strategy=strategy, max_size=1, close_timeout=0.05, observers=[Watcher()]) as pool:
        async with pool.get_connection() as conn:
            number = conn.fileno()
            way.proxy.stall()
        await eventually(lambda: conn.closed)
        assert (numbers, pool.stats().closed["stale"]) == ([number], 1)
        way.proxy.resume()


async def test_socket_is_not_closed_under_a_task_that_waits_for_it(way: Way) -> None:
    """The event loop would watch the next socket of the same number in its place; the task is woken instead."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    asking = asyncio.create_task(conn.execute("SELECT pg_sleep(0.5)"))
    await eventually(conn.lock.locked)
    await asyncio.sleep(0.01)
    number = conn.fileno()
    await closed(strategy, conn)
    assert conn.fileno() == number
    with pytest.raises(psycopg.OperationalError):
        await asking
    assert conn.closed


@pytest.mark.parametrize("errand", ["init", "reset"])
async def test_transaction_left_open_by_an_errand_is_refused(way: Way, errand: str) -> None:
    """What it did would be rolled back later, or seen by the next borrower."""

    async def forget(conn: Any) -> None:
        await conn.execute("SET statement_timeout = '7s'")

    async def use(pool: ConnectionPool[Any]) -> None:
        async with pool.get_connection():
            pass

    async with ConnectionPool(strategy=way.strategy(**{errand: forget}), max_size=1) as pool:
        if errand == "init":
            with pytest.raises(psycopg.ProgrammingError, match="init left the connection INTRANS: it must commit"):
                await use(pool)
        else:
            await use(pool)
            assert pool.stats().closed["dirty"] == 1
    await eventually(lambda: not way.proxy.links)


async def test_creation_that_times_out_leaves_no_socket_open(way: Way) -> None:
    """Though somebody keeps the error, as the pool does to show it. Two seconds: libpq takes no less."""
    way.proxy.stall()
    with pytest.raises(psycopg.OperationalError, match="timeout") as kept:
        await way.strategy(connect_timeout=2).create_connection()
    way.proxy.resume()
    await eventually(lambda: not way.proxy.links)
    del kept


async def test_second_cancellation_ends_a_command_that_the_server_does_not_answer(way: Way) -> None:
    """The first has psycopg wait, 5 s for the server to take it and 5 s more for the command to end."""
    strategy = way.strategy(autocommit=True)
    conn = await strategy.create_connection()
    way.proxy.stall()
    async with asyncio.timeout(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), asyncio.timeout(0.1):
                await conn.execute("SELECT 1")
    assert strategy.connection_is_closed(conn)
    way.proxy.resume()
