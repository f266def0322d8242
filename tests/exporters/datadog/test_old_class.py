"""The old Datadog class, name for name; what it sends is in `test_golden.py`."""

import inspect

import pytest
from asyncio_connection_pool import ConnectionStrategy as OldStrategy
from asyncio_connection_pool.contrib import datadog as ancestor

import instrumented_pool
from instrumented_pool_datadog import ConnectionPool


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


def test_old_text_for_the_limits_stays() -> None:
    """Callers may match it."""
    with pytest.raises(ValueError, match=r"^burst_limit must be greater than or equal to max_size"):
        ConnectionPool("orders", strategy=Strategy(), max_size=2, burst_limit=1)
