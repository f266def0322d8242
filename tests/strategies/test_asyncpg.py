"""What `AsyncpgConnectionStrategy` alone promises."""

import asyncio
import contextlib
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest

from instrumented_pool import ConnectionPool
from support.postgresql import ASYNCPG, Way, closed

pytestmark = pytest.mark.parametrize("way", [ASYNCPG], indirect=True, ids=["asyncpg"])


async def lent_twice(way: Way, first: Any, second: Any, **kwargs: Any) -> Any:
    """What two bodies make of the one connection, one after the other."""
    async with ConnectionPool(strategy=way.strategy(**kwargs), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await first(conn)
        async with pool.get_connection() as conn:
            reply = await second(conn)
        assert pool.stats().created == 1
        return reply


async def listen(conn: Any) -> None:
    await conn.add_listener("news", print)
    conn.add_log_listener(print)


async def change_the_session(conn: Any) -> None:
    await conn.execute("SET statement_timeout = '7s'; SELECT pg_advisory_lock(6)")


async def channels(conn: Any) -> int:
    count: int = await conn.fetchval("SELECT count(*) FROM pg_listening_channels()")
    return count


async def timeout_of_statements(conn: Any) -> str:
    setting: str = await conn.fetchval("SHOW statement_timeout")
    return setting


async def test_listeners_are_removed_before_the_next_borrower(way: Way) -> None:
    """At the server too."""
    assert await lent_twice(way, listen, channels) == 0


async def test_what_cannot_be_seen_stays_by_default(way: Way) -> None:
    """It would cost a round trip to have the server forget it."""
    assert await lent_twice(way, change_the_session, timeout_of_statements) == "7s"


async def test_asyncpgs_own_reset_can_run_at_each_return(way: Way) -> None:
    """As its own pool has it: settings and advisory locks are gone."""
    reset = asyncpg.Connection.reset
    assert await lent_twice(way, change_the_session, timeout_of_statements, reset=reset) == "0"
    assert await way.ask_server("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


async def test_connection_that_is_about_to_be_lost_is_seen_as_closed(way: Way) -> None:
    """Between the end of the stream and asyncpg's being told lies a turn of the event loop."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    conn._transport.abort()
    assert not conn.is_closed()
    assert strategy.connection_is_closed(conn)
    await closed(strategy, conn)


async def test_begin_that_was_cancelled_does_not_nest_the_next_transaction(way: Way) -> None:
    """Asyncpg takes the transaction for begun until it is reset."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    beginning = asyncio.create_task(conn.transaction().start())
    await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.gather(beginning, return_exceptions=True)
    await conn.execute("ROLLBACK")
    pending = strategy.reset_connection(conn)
    assert pending is not None
    await pending
    async with conn.transaction():
        assert await way.driver.ask(conn, "mine") == "mine"
    await closed(strategy, conn)


async def test_begin_that_was_cancelled_too_late_is_waited_for_though_the_body_goes_on(way: Way) -> None:
    """Whether there is a transaction to roll back is known when the server has confirmed the cancellation."""
    strategy = way.strategy()
    conn = await strategy.create_connection()
    way.proxy.delay = 0.1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await conn.execute("BEGIN")
    pending = strategy.reset_connection(conn)
    assert pending is not None
    await pending
    assert not conn.is_in_transaction()
    await closed(strategy, conn)
