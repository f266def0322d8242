from collections.abc import AsyncIterator

import pytest

from instrumented_pool._demo._proxy import Proxy
from instrumented_pool._demo._server import Valkey


@pytest.fixture
async def server() -> AsyncIterator[Valkey]:
    """A real Valkey, this test's own."""
    async with Valkey() as server:
        yield server


@pytest.fixture
async def proxy(server: Valkey) -> AsyncIterator[Proxy]:
    """A way to the server that can be disturbed."""
    async with Proxy(server.host, server.port) as proxy:
        yield proxy
