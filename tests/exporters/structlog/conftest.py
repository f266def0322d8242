"""Pools whose lines are looked at, and structlog as it is before anybody configures it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from instrumented_pool import ConnectionPool, Observer
from instrumented_pool.testing import FakeStrategy
from support.clock import clock
from support.fakes import MakePool, Pool
from support.telemetry import telemetry

__all__ = ["clock", "telemetry"]


@pytest.fixture(autouse=True)
def _plain_structlog() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture
async def build() -> AsyncIterator[MakePool]:
    """Builds pools of one connection that are closed when the test is over."""
    pools: list[Pool] = []

    def build(observer: Observer, strategy: FakeStrategy | None = None, **options: Any) -> Pool:
        options = {"max_size": 1, "name": "orders", **options}
        pools.append(ConnectionPool(strategy=strategy or FakeStrategy(), observers=[observer], **options))
        return pools[-1]

    yield build
    for pool in pools:
        await pool.close()
