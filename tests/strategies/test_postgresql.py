"""What both strategies for PostgreSQL promise, against a real one, through a proxy that can be disturbed."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from instrumented_pool import ConnectionPool, PoolTimeoutError
from support.postgresql import DRIVERS, Driver, Way, closed
from support.waits import eventually

each_driver = pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, psycopg.Error)


def open_files() -> set[str]:
    """What this process has open, by number and by what it is: numbers are used again."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue  # the listing itself
    return found


# ---- dialling


async def test_dsn_and_keywords_reach_the_same_server(way: Way) -> None:
    """Both are the driver's own, and both are forwarded as they are given."""
    by_name = way.driver.strategy(
        host=way.proxy.host, port=way.proxy.port, user=way.postgres.user, **_database(way, way.postgres.database)
    )
    for strategy in (way.strategy(), by_name):
        conn = await strategy.create_connection()
        assert await way.driver.ask(conn, "mine") == "mine"
        await closed(strategy, conn)


async def test_connection_is_dialled_when_it_is_created(way: Way) -> None:
    """The time of dialling is the pool's to measure, not the first query's."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    assert await way.count() == 1
    await closed(strategy, conn)


async def test_server_that_is_away_fails_at_creation_at_once(way: Way) -> None:
    """One attempt, and the driver's own error."""
    way.proxy.refuse()
    async with asyncio.timeout(5):
        with pytest.raises(ERRORS):
            await way.strategy().create_connection()


async def test_cancelled_creation_leaves_no_socket_open(way: Way) -> None:
    """Cancelled in the middle of the greeting, it hangs up, though somebody keeps the traceback."""
    before = open_files()
    way.proxy.stall()
    creation = asyncio.create_task(way.strategy().create_connection())
    await eventually(lambda: bool(way.proxy.links))
    creation.cancel()
    with pytest.raises(asyncio.CancelledError) as kept:
        await creation
    way.proxy.resume()
    await eventually(lambda: not way.proxy.links)
    await eventually(lambda: open_files() <= before)
    del kept


async def test_creation_cancelled_at_any_moment_leaves_no_socket_open(way: Way) -> None:
    """Before, in and after each step of the greeting."""
    strategy = way.strategy()
    await closed(strategy, await strategy.create_connection())
    await eventually(lambda: not way.proxy.links)
    before = open_files()
    moments = random.Random(6)
    outcomes = set()
    for _ in range(200):
        creation = asyncio.create_task(strategy.create_connection())
        await asyncio.sleep(moments.uniform(0, 0.015))
        creation.cancel()
        conn: Any = (await asyncio.gather(creation, return_exceptions=True))[0]
        outcomes.add(type(conn).__name__)
        if not isinstance(conn, BaseException):
            await closed(strategy, conn)
    await eventually(lambda: not way.proxy.links)
    await eventually(lambda: open_files() <= before)
    assert "CancelledError" in outcomes


async def test_init_sets_each_connection_up(way: Way) -> None:
    """Before it is lent for the first time."""

    async def init(conn: Any) -> None:
        await way.driver.ask(conn, "hello")
        made.append(conn)
        if way.driver.name == "psycopg":
            await conn.commit()

    made: list[Any] = []
    strategy = way.strategy(init=init)
    conn = await strategy.create_connection()
    assert made == [conn]
    await closed(strategy, conn)


async def test_failing_init_leaves_no_socket_open(way: Way) -> None:
    """Its error is the creation's."""

    async def init(conn: Any) -> None:
        raise LookupError("no such codec")

    with pytest.raises(LookupError):
        await way.strategy(init=init).create_connection()
    await eventually(lambda: not way.proxy.links)


# ---- liveness


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_connection_cut_while_idle_is_seen_as_closed(way: Way, reset: bool) -> None:
    """Without sending anything."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    assert not strategy.connection_is_closed(conn)
    await way.proxy.cut(reset=reset)
    await eventually(lambda: strategy.connection_is_closed(conn))
    await closed(strategy, conn)


async def test_connection_that_the_server_terminates_is_seen_as_closed(way: Way) -> None:
    """It says so before it hangs up: what has arrived is not mistaken for a sign of life."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1"
    assert await way.ask_server(query, way.name) == 1
    await eventually(lambda: strategy.connection_is_closed(conn))
    await closed(strategy, conn)


async def test_notification_that_arrived_while_idle_is_not_taken_for_death(way: Way) -> None:
    """Nor is it lost."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    await conn.execute("LISTEN news")
    if way.driver.name == "psycopg":
        await conn.commit()
    await way.ask_server("SELECT pg_notify('news', 'rain')")
    for _ in range(100):
        assert not strategy.connection_is_closed(conn)
        await asyncio.sleep(0.001)
    assert await way.driver.ask(conn, "mine") == "mine"
    await closed(strategy, conn)


async def test_check_fails_where_nothing_comes_back(way: Way) -> None:
    """It looks alive to the cheap check: nobody has hung up."""
    strategy = way.strategy(check_after=30)
    assert strategy.check_after == 30.0
    conn = await strategy.create_connection()
    await strategy.check_connection(conn)
    way.proxy.stall()
    assert not strategy.connection_is_closed(conn)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await strategy.check_connection(conn)
    closing = asyncio.create_task(closed(strategy, conn))
    await asyncio.sleep(0.01)
    way.proxy.resume()
    await closing


async def test_check_fails_where_the_server_has_ended_the_session(way: Way) -> None:
    """An error is no answer, be it the reply to the question."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    query = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = $1"
    assert await way.ask_server(query, way.name) == 1
    with pytest.raises(ERRORS):
        await strategy.check_connection(conn)
    await closed(strategy, conn)


async def test_check_leaves_no_transaction_open(way: Way) -> None:
    """Psycopg would begin one."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    await strategy.check_connection(conn)
    assert strategy.reset_connection(conn) is None
    await closed(strategy, conn)


# ---- close


async def test_close_cut_short_closes_the_socket(way: Way) -> None:
    """The server says nothing, and the pool's deadline is over."""
    before = open_files()
    strategy = way.strategy()
    conn = await strategy.create_connection()
    way.proxy.stall()
    closing = asyncio.create_task(closed(strategy, conn))
    await asyncio.sleep(0.01)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert strategy.connection_is_closed(conn)
    way.proxy.resume()
    await eventually(lambda: not way.proxy.links)
    await eventually(lambda: open_files() <= before)


async def test_close_with_a_query_in_flight_closes_the_socket(way: Way) -> None:
    """The borrower's task was cancelled, and the connection is not to be lent again."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    asking = asyncio.create_task(_asked(way, conn, "mine", 0.5))
    await asyncio.sleep(0.05)
    await closed(strategy, conn)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await eventually(lambda: not way.proxy.links)


# ---- reset


async def test_nothing_is_awaited_where_nothing_was_left(way: Way) -> None:
    """A body that ended its transaction costs no round trip."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    async with conn.transaction():
        await way.driver.ask(conn, "mine")
    assert strategy.reset_connection(conn) is None
    await closed(strategy, conn)


async def test_open_transaction_is_rolled_back_before_the_next_borrower(way: Way) -> None:
    """The next one neither sees nor ends it."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        for _ in range(2):
            async with pool.get_connection() as conn:
                await conn.execute("BEGIN")
                await conn.execute("CREATE TABLE left_open ()")
            async with pool.get_connection() as again:
                assert again is conn
                assert await way.driver.ask(conn, "mine") == "mine"
                await conn.execute("ROLLBACK")
        assert pool.stats().created == 1
    assert await way.ask_server("SELECT to_regclass('left_open')") is None


async def test_failed_transaction_is_rolled_back_before_the_next_borrower(way: Way) -> None:
    """The server would refuse everything until then."""

    async def fail(conn: Any) -> None:
        await conn.execute("BEGIN")
        await conn.execute("SELECT nonsense")

    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        with pytest.raises(ERRORS):
            await _borrowed(pool, fail)
        async with pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
        assert pool.stats().created == 1


async def test_reset_of_ones_own_runs_at_each_return(way: Way) -> None:
    """After what can be seen has been undone."""

    async def reset(conn: Any) -> None:
        returned.append(await way.driver.ask(conn, "reset"))
        if way.driver.name == "psycopg":
            await conn.commit()

    returned: list[str] = []
    async with ConnectionPool(strategy=way.strategy(reset=reset), max_size=1) as pool:
        for _ in range(2):
            async with pool.get_connection() as conn:
                await conn.execute("BEGIN")
    assert returned == ["reset", "reset"]


@pytest.mark.parametrize("failing", [False, True])
async def test_connection_with_a_command_in_flight_is_not_lent_again(way: Way, failing: bool) -> None:
    """A body that was over while another task was still asking: the next borrower gets its own reply."""
    asking: list[asyncio.Task[str]] = []

    async def leave(conn: Any) -> None:
        asking.append(asyncio.create_task(_asked(way, conn, "theirs", 0.5)))
        await asyncio.sleep(0.05)
        if failing:
            raise LookupError

    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        with pytest.raises(LookupError) if failing else contextlib.nullcontext():
            await _borrowed(pool, leave)
        async with pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
        await asyncio.gather(*asking, return_exceptions=True)
        assert pool.stats().closed["dirty"] == 1


# ---- cancellation


async def test_connection_survives_a_cancelled_query(way: Way) -> None:
    """The server is told to drop it, and the next borrower waits for that, not for the query."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await _borrowed(pool, lambda conn: way.driver.ask(conn, "theirs", 30.0))
        async with asyncio.timeout(10), pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
        assert pool.stats().created == 1


async def test_transaction_begun_by_a_query_cancelled_too_late_is_rolled_back(way: Way) -> None:
    """The server had begun it when it was told to stop; the next borrower begins its own."""

    async def begin(conn: Any) -> None:
        way.proxy.delay = 0.1
        async with asyncio.timeout(0.05):
            await conn.execute("BEGIN")

    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        with pytest.raises(TimeoutError):
            await _borrowed(pool, begin)
        async with pool.get_connection() as conn, conn.transaction():
            assert await way.driver.ask(conn, "mine") == "mine"
        assert pool.stats().created == 1


async def test_nobody_reads_anothers_reply_however_many_are_cancelled(way: Way) -> None:
    """Tokens are compared over 2,000 queries, most of them cancelled at some moment, in and out of transactions."""
    moments = random.Random(6)
    cancelled = replied = 0

    async def borrow(token: str) -> str:
        async with pool.get_connection() as conn:
            kind = moments.random()
            if kind < 0.3:
                async with conn.transaction():
                    return await way.driver.ask(conn, token)
            if kind < 0.4:
                await conn.execute("BEGIN")
            return await way.driver.ask(conn, token)

    async with ConnectionPool(strategy=way.strategy(), max_size=4) as pool:
        for n in range(250):
            tasks = {f"{n}-{k}": asyncio.create_task(borrow(f"{n}-{k}")) for k in range(8)}
            for task in tasks.values():
                if moments.random() < 0.8:
                    asyncio.get_running_loop().call_later(moments.uniform(0, 0.006), task.cancel)
            done = await asyncio.gather(*tasks.values(), return_exceptions=True)
            for token, reply in zip(tasks, done, strict=True):
                cancelled += isinstance(reply, asyncio.CancelledError)
                replied += reply == token
                assert reply == token or isinstance(reply, asyncio.CancelledError), reply
        async with asyncio.TaskGroup() as group:
            last = [group.create_task(borrow(str(k))) for k in range(8)]
        assert [task.result() for task in last] == [str(k) for k in range(8)]
        await way.has(pool.stats().total)
    assert cancelled > 100
    assert replied > 100


# ---- the whole way round


async def test_pool_replaces_what_the_server_cut(way: Way) -> None:
    """A cut connection is dropped as stale and the caller gets a fresh one."""
    strategy = way.strategy()
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
        await way.proxy.cut()
        await eventually(lambda: strategy.connection_is_closed(conn))
        async with pool.get_connection() as conn:
            assert await way.driver.ask(conn, "mine") == "mine"
        assert pool.stats().closed["stale"] == 1


async def test_waiting_caller_learns_why_no_connection_could_be_made(way: Way) -> None:
    """A server that accepts and says nothing: the caller's own time-out ends the wait."""
    async with ConnectionPool(strategy=way.strategy(), max_size=1) as pool:
        way.proxy.stall()
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0.01):
                pytest.fail("a connection to a server that says nothing")
        way.proxy.resume()


# ---- what it says of itself


@each_driver
def test_attributes_are_what_the_driver_will_connect_to(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the DSN, from keywords, and from the environment."""
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    there = {
        "db.system.name": "postgresql",
        "server.address": "db.example",
        "server.port": 6543,
        "db.namespace": "orders",
    }
    assert driver.strategy("postgresql://me:hunter2@db.example:6543/orders").attributes == there
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGPORT", "6543")
    assert driver.strategy("postgresql:///orders").attributes == there
    monkeypatch.setenv("PGDATABASE", "orders")
    assert driver.strategy(user="me", password="hunter2").attributes == there
    assert driver.strategy("postgresql://me@/orders?host=/run/here&port=1").attributes == {
        "db.system.name": "postgresql",
        "server.address": "/run/here/.s.PGSQL.1",
        "db.namespace": "orders",
    }


@each_driver
def test_none_of_several_servers_is_named(driver: Driver) -> None:
    """Which of them a connection goes to is seen only then."""
    strategy = driver.strategy("postgresql://me@one:1,two:2/orders")
    assert strategy.attributes == {"db.system.name": "postgresql", "db.namespace": "orders"}


@each_driver
@pytest.mark.parametrize(
    "dsn", ["redis://me:hunter2@db", "postgresql://me:hun/ter2@db", "postgresql://me:hunter2@db:hun", "hunter2"]
)
def test_bad_dsn_is_refused_at_once_without_being_repeated(driver: Driver, dsn: str) -> None:
    """It may hold a password, and the drivers would quote a piece of it."""
    with pytest.raises(ValueError, match="not a PostgreSQL") as caught:
        driver.strategy(dsn)
    assert "hun" not in str(caught.value)


@each_driver
def test_end_of_a_password_is_not_taken_for_the_database(driver: Driver) -> None:
    """A password with a '/' and only digits before it can be read as a port."""
    strategy = driver.strategy("postgresql://me:12/hunter2@db")
    assert "hunter2" not in str(strategy.attributes)


@each_driver
def test_unknown_argument_is_refused_at_once(driver: Driver) -> None:
    """Not at the first connection, in production, at night."""
    with pytest.raises(TypeError, match="hots"):
        driver.strategy(hots="localhost")


@each_driver
def test_seconds_of_no_idleness_are_refused(driver: Driver) -> None:
    """They would have the pool do nothing else."""
    with pytest.raises(ValueError, match="check_after must be more than 0 seconds"):
        driver.strategy("postgresql://db", check_after=0)


@each_driver
def test_missing_driver_names_the_extra(driver: Driver) -> None:
    """Without it the import says what to install."""
    script = f"import sys; sys.modules['{driver.name}'] = None; import instrumented_pool.strategies.{driver.name}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"ConnectionStrategy needs {driver.name}: pip install 'instrumented-pool[{driver.name}]'" in done.stderr


def _database(way: Way, name: str) -> dict[str, str]:
    return {"database" if way.driver.name == "asyncpg" else "dbname": name}


async def _borrowed(pool: ConnectionPool[Any], body: Callable[[Any], Awaitable[object]]) -> None:
    async with pool.get_connection() as conn:
        await body(conn)


async def _asked(way: Way, conn: Any, token: str, seconds: float) -> str:
    return await way.driver.ask(conn, token, seconds)
