"""What holds for every test."""

import gc
import os
from collections.abc import AsyncIterator, Generator

import pytest
import pytest_asyncio

from instrumented_pool._servers import NotInstalled, Postgres, Proxy, Valkey


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip what has no server installed. In CI a skipped test is a failed one: .ci/run lacks what it needs."""
    if call.excinfo is not None:
        if call.excinfo.errisinstance(NotInstalled):
            why = str(call.excinfo.value)
            call.excinfo = pytest.CallInfo.from_call(lambda: pytest.skip(why), call.when).excinfo
        gc.disable()  # until pytest_runtest_protocol collects
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "CI" in os.environ:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Collect the garbage of a failed test, suspended coroutines and all, at once and not while it is reported.

    CPython 3.11 loses count of its recursion when it finalizes a coroutine while it parses, which pytest has it do.
    """
    try:
        return (yield)
    finally:
        if not gc.isenabled():
            gc.enable()
            gc.collect()


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    """A real PostgreSQL that all tests share, which leave it as they found it."""
    async with Postgres() as postgres:
        yield postgres
