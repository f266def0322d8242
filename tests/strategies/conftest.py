"""What tests of strategies share."""

from collections.abc import AsyncIterator

import pytest

from instrumented_pool._servers import Postgres, Proxy
from support.postgresql import DRIVERS, Way, way_to


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
async def way(request: pytest.FixtureRequest, postgres: Postgres) -> AsyncIterator[Way]:
    """By each driver, to the PostgreSQL that all share, where nothing of the test's is left."""
    async with Proxy(postgres.host, postgres.port) as proxy:
        way = way_to(postgres, proxy, request.param)
        yield way
        await way.has(0)
