"""The cancel sweep beside a real PostgreSQL: at whatever moment a caller is cancelled, the next one is served."""

from typing import Any, TypeAlias

import pytest

from instrumented_pool import ConnectionPool
from instrumented_pool._servers import Postgres
from instrumented_pool.testing import RecordingObserver, sweep_cancellations
from support.postgresql import DRIVERS, Driver

Pool: TypeAlias = "ConnectionPool[Any]"


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
@pytest.mark.parametrize("repeatedly", [False, True])
def test_caller_cancelled_anywhere_leaves_its_slot_and_no_reply_behind(
    postgres: Postgres, driver: Driver, repeatedly: bool
) -> None:
    """While it connects, begins, asks, commits, or gives the connection back."""
    recorder = RecordingObserver()

    async def setup() -> Pool:
        return ConnectionPool(strategy=driver.strategy(postgres.url), max_size=1, observers=[recorder])

    async def order(pool: Pool) -> None:
        async with pool.get_connection() as conn, conn.transaction():
            await driver.ask(conn, "theirs")

    async def check(pool: Pool) -> None:
        async with pool, pool.get_connection(timeout=30.0) as conn, conn.transaction():
            assert await driver.ask(conn, "mine") == "mine"

    assert sweep_cancellations(order, setup=setup, check=check, repeatedly=repeatedly) > 10
    recorder.assert_paired()
