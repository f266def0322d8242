"""The old Datadog class, name for name; what it sends is in `test_golden.py`."""

import inspect

import pytest
from asyncio_connection_pool import ConnectionStrategy as OldStrategy
from asyncio_connection_pool.contrib import datadog as ancestor

import instrumented_pool
from instrumented_pool_datadog import ConnectionPool, _observer
from support.datadog_agent import Agent, Clock


class Strategy(OldStrategy[int]):
    async def make_connection(self) -> int:
        return 1

    def connection_is_closed(self, conn: int) -> bool:
        return False

    async def close_connection(self, conn: int) -> None: ...


def test_constructor_takes_what_the_ancestors_took() -> None:
    """Names, kinds and defaults of every parameter."""
    ours, theirs = (inspect.signature(cls).parameters.values() for cls in (ConnectionPool, ancestor.ConnectionPool))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


async def test_old_strategy_is_taken_as_it_is() -> None:
    """And the pool is one of ours, called like the service."""
    pool: ConnectionPool[int] = ConnectionPool("orders", strategy=Strategy(), max_size=2, burst_limit=3)
    async with pool, pool.get_connection() as conn:
        assert conn == 1
    assert isinstance(pool, instrumented_pool.ConnectionPool)
    assert (pool.name, pool.max_size, pool.burst_limit) == ("orders", 2, 3)


async def test_it_reports_once_a_minute(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """And at the first turn of the loop, to the client that `datadog.initialize()` configures."""
    monkeypatch.setattr(_observer, "_statsd", agent.client)
    clock = Clock()
    pool: ConnectionPool[int] = ConnectionPool("orders", extra_tags=["env:t"], strategy=Strategy(), max_size=1)
    reports: list[int] = []
    for seconds in (0.0, 59.0, 2.0):
        await clock.advance(seconds)
        reports.append(len(agent.lines()))
    assert reports == [5, 0, 5]
    await pool.close()


async def test_callers_wait_for_ever() -> None:
    """As they did."""
    pool: ConnectionPool[int] = ConnectionPool("orders", strategy=Strategy(), max_size=1)
    assert pool._acquire_timeout == float("inf")


def test_old_text_for_the_limits_stays() -> None:
    """Callers may match it."""
    with pytest.raises(ValueError, match=r"^burst_limit must be greater than or equal to max_size"):
        ConnectionPool("orders", strategy=Strategy(), max_size=2, burst_limit=1)
