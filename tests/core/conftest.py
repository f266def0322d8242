"""The tests of the core run on virtual time: what takes hours passes at once, and always in the same order."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from hypothesis import settings

from instrumented_pool import ConnectionPool, Observer, _bus, _pool
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.fakes import MakePool, Pool
from support.virtual import CLOCK, START, VirtualLoop
from support.whole import assert_gone, assert_whole

# What Hypothesis tries is the same each time, however long it takes.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")

# Eager tasks are a feature of Python 3.12: below, there is nothing to test, and so nothing to skip.
collect_ignore = [] if sys.version_info >= (3, 12) else ["test_eager_tasks.py"]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], VirtualLoop]]:
    """Run every `async def` test of this directory on a loop of virtual time."""
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pool see the time of the virtual loop."""
    CLOCK.seconds = START
    monkeypatch.setattr(_pool, "monotonic", CLOCK.now)
    monkeypatch.setattr(_bus, "monotonic", CLOCK.now)


@pytest.fixture
def strategy() -> FakeStrategy:
    """The strategy of `make_pool`'s pools."""
    return FakeStrategy()


@pytest.fixture
def recorder() -> RecordingObserver:
    """For `observers=[recorder]`."""
    return RecordingObserver()


@pytest.fixture
async def make_pool(strategy: FakeStrategy) -> AsyncIterator[MakePool]:
    """Builds pools of `strategy`; each is closed after the test, and must then have left nothing behind."""
    pools: list[Pool] = []

    def make(*, observers: tuple[Observer, ...] | list[Observer] = (), **options: Any) -> Pool:
        options = {"strategy": strategy, "max_size": 1, **options}
        pools.append(ConnectionPool(observers=observers, **options))
        return pools[-1]

    yield make
    for pool in pools:
        if not pool._closed:
            assert_whole(pool)
        strategy.gate.set()
        await pool.close(timeout=60)
    if len(pools) == 1 and pools[0]._strategy is strategy:
        recorders = [known for known in pools[0]._bus.observers if isinstance(known, RecordingObserver)]
        assert_gone(pools[0], strategy, recorders[0] if recorders else None)
