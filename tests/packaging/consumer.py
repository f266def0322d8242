"""What a user of the package writes; checked by the type-checkers against an installed distribution."""

from typing import Any, assert_type

from psycopg import AsyncConnection
from redis.asyncio import Redis

from instrumented_pool import ConnectionPool, ConnectionStrategy, Observer, PoolStats
from instrumented_pool.strategies.psycopg import PsycopgConnectionStrategy
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool.testing import (
    ChaosStrategy,
    FakeConnection,
    FakeStrategy,
    Faults,
    FaultyStrategy,
    sweep_cancellations,
    sweep_faults,
)
from instrumented_pool_datadog import DatadogObserver
from instrumented_pool_otel import OTelObserver
from instrumented_pool_otel.sdk import bridge
from instrumented_pool_prometheus import PoolCollector
from instrumented_pool_structlog import StructlogObserver


class Line:
    def say(self, word: str) -> int:
        return len(word)


class Lines(ConnectionStrategy[Line]):
    async def create_connection(self) -> Line:
        return Line()

    def connection_is_closed(self, conn: Line) -> bool:
        return False

    async def close_connection(self, conn: Line) -> None:
        return None


def current_trace() -> dict[str, str] | None:
    """What an application knows of its traces."""
    return None


async def use() -> None:
    """Build pools, and see what comes out of them."""
    bridge()
    observers: list[Observer] = [
        OTelObserver(),
        DatadogObserver(service_name="orders"),
        PoolCollector(trace_ids=current_trace),
        StructlogObserver(trace_ids=current_trace),
    ]
    pool = ConnectionPool(strategy=Lines(), max_size=2, burst_limit=4, name="lines", observers=observers)
    assert_type(pool, ConnectionPool[Line])
    async with pool, pool.get_connection(timeout=2.0) as line:
        assert_type(line, Line)
        assert_type(line.say("word"), int)
    assert_type(pool.stats(), PoolStats)

    redis_pool = ConnectionPool(strategy=RedisConnectionStrategy("localhost"), max_size=2)
    async with redis_pool.get_connection() as client:
        assert_type(client, Redis)

    postgres_pool = ConnectionPool(strategy=PsycopgConnectionStrategy("postgresql://db"), max_size=2)
    async with postgres_pool.get_connection() as conn:
        assert_type(conn, AsyncConnection[Any])


async def make() -> ConnectionPool[FakeConnection]:
    """Make what a sweep goes through."""
    pool = ConnectionPool(strategy=ChaosStrategy(FakeStrategy(), connect_failures=0.1), max_size=2)
    assert_type(pool, ConnectionPool[FakeConnection])
    return pool


async def borrow(pool: ConnectionPool[FakeConnection]) -> None:
    """Be cancelled anywhere."""
    async with pool.get_connection() as conn:
        assert_type(conn.number, int)


async def make_faulty(faults: Faults) -> ConnectionPool[FakeConnection]:
    """Make what a sweep of faults goes through."""
    pool = ConnectionPool(strategy=FaultyStrategy(FakeStrategy(), faults), max_size=2)
    assert_type(pool, ConnectionPool[FakeConnection])
    return pool


def sweep() -> None:
    """See that the scenario gets what was made."""
    assert_type(sweep_faults(borrow, setup=make_faulty, error=OSError, check=lambda pool: pool.close()), int)
    assert_type(sweep_cancellations(borrow, setup=make, check=lambda pool: pool.close()), int)
