"""Here tests run on the loops that applications run on, in real time, each on every one of them.

When something happens is up to the machine, so no test says when: what must hold, holds in any order.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any

import pytest

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import ChaosStrategy, FakeConnection, FakeStrategy, RecordingObserver
from support.fakes import CarefulStrategy, Pool
from support.giving_up import MOMENT, at_rest
from support.loops import LOOPS, MakeLoop
from support.whole import assert_gone, assert_whole


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, MakeLoop]:
    """Run every `async def` test of this directory once on each loop."""
    return LOOPS


@pytest.fixture
def random() -> Random:
    """The same choices in every run, whatever the loop makes of them."""
    return Random(20_26)


@pytest.fixture
def chaos(request: pytest.FixtureRequest) -> ChaosStrategy[FakeConnection]:
    """The strategy of `pool`: slow to connect and to close, unless that fails altogether; "careful" if asked to be."""
    careful = getattr(request, "param", "plain") == "careful"
    return ChaosStrategy(
        CarefulStrategy(check_after=MOMENT, close_steps=2) if careful else FakeStrategy(close_steps=2),
        connect_delay=MOMENT,
        connect_failures=0.05,
        dead_on_arrival=0.02,
        check_failures=0.01,
    )


@pytest.fixture
def calm(chaos: ChaosStrategy[FakeConnection]) -> None:
    """Nothing fails."""
    chaos.connect_delay = chaos.connect_failures = chaos.dead_on_arrival = chaos.check_failures = 0


@pytest.fixture
async def pool(chaos: ChaosStrategy[FakeConnection]) -> AsyncIterator[Pool]:
    """A pool that may burst; after the test it still has every slot, and closed, it has left nothing behind."""
    recorder, complaints = RecordingObserver(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    pool: Pool = ConnectionPool(strategy=chaos, max_size=3, burst_limit=5, observers=[recorder])
    yield pool
    chaos.connect_failures = chaos.dead_on_arrival = chaos.check_failures = 0
    await _lend_all_at_once(pool)
    await pool.close()
    assert isinstance(chaos._strategy, FakeStrategy)
    assert_gone(pool, chaos._strategy, recorder)
    assert not complaints


async def _lend_all_at_once(pool: Pool) -> None:
    """No slot is lost: as many as the hard limit allows can be held together."""
    await at_rest(pool)
    assert (pool.stats().in_use, pool.stats().waiting) == (0, 0), repr(pool)
    everybody = asyncio.Barrier(pool.stats().limit)

    async def hold() -> None:
        async with pool.get_connection():
            await everybody.wait()

    await asyncio.gather(*(hold() for _ in range(everybody.parties)))
    assert_whole(pool)
