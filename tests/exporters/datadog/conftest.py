"""A real socket to send metrics to, ddtrace's own tracer, and pools that report to both."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from datadog.dogstatsd.base import statsd
from ddtrace.trace import tracer

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import FakeStrategy
from instrumented_pool_datadog import DatadogObserver
from support.datadog_agent import Agent, KeptTraces
from support.fakes import MakePool, Pool
from support.trace_agent import TraceAgent

_kept = KeptTraces()


@pytest.fixture
def agent() -> Iterator[Agent]:
    """A DogStatsD agent, and a client of it."""
    agent = Agent()
    yield agent
    agent.close()


@pytest.fixture
async def trace_agent() -> AsyncIterator[TraceAgent]:
    """Datadog's test agent."""
    async with TraceAgent() as trace_agent:
        yield trace_agent


@pytest.fixture(scope="session", autouse=True)
def _real_vendor() -> Iterator[None]:
    tracer.configure(trace_processors=[_kept])
    yield
    statsd.close_socket()


@pytest.fixture
def traces() -> KeptTraces:
    """The traces that finish during this test."""
    _kept.spans.clear()
    return _kept


@pytest.fixture
async def build() -> AsyncIterator[MakePool]:
    """Builds pools that are closed when the test is over."""
    pools: list[Pool] = []

    def build(observer: DatadogObserver, **options: Any) -> Pool:
        options = {"strategy": FakeStrategy(close_steps=0), "max_size": 1, "name": "orders-db", **options}
        pools.append(ConnectionPool(observers=[observer], **options))
        return pools[-1]

    yield build
    for pool in pools:
        await pool.close()


@pytest.fixture
def observer(agent: Agent) -> DatadogObserver:
    """Of a service `orders`, and never due to report of its own accord."""
    return DatadogObserver("orders", extra_tags=["env:t"], report_every=3600, statsd=agent.client)
