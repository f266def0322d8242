"""A real socket to send metrics to, and ddtrace's own tracer."""

from collections.abc import Iterator

import pytest
from datadog.dogstatsd.base import statsd
from ddtrace.trace import tracer

from support.datadog_agent import Agent, KeptTraces

_kept = KeptTraces()


@pytest.fixture
def agent() -> Iterator[Agent]:
    """A DogStatsD agent, and a client of it."""
    agent = Agent()
    yield agent
    agent.close()


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
