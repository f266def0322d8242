from collections.abc import AsyncIterator

import pytest

from support.telemetry import Pools, Telemetry, Wires


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def wires() -> Wires:
    return Wires()


@pytest.fixture
async def make_pool() -> AsyncIterator[Pools]:
    pools = Pools()
    yield pools
    await pools.close()
