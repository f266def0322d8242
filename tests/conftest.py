"""What holds for every test."""

import os
from collections.abc import AsyncIterator, Generator

import pytest

from instrumented_pool._demo._proxy import Proxy
from instrumented_pool._demo._server import Valkey


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: what it needs is missing from .ci/run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "CI" in os.environ:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


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
