"""What holds for every test."""

import gc
import os
from collections.abc import AsyncIterator, Generator

import pytest

from instrumented_pool._demo._proxy import Proxy
from instrumented_pool._demo._server import Valkey


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: what it needs is missing from .ci/run."""
    if call.excinfo is not None:
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
