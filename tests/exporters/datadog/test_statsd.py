"""What becomes of metrics on their way to the agent, over real sockets, and where it does not take them."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from datadog.dogstatsd.base import DogStatsd
from ddtrace.trace import tracer

from instrumented_pool.testing import FakeConnection
from instrumented_pool_datadog import DatadogObserver, _client
from support.datadog_agent import Agent, Clock, KeptTraces, latest, ticks, use
from support.fakes import MakePool

MakeAgent = Callable[..., Agent]
TRANSPORTS = pytest.mark.parametrize("transport", ["udp", "unix"])


@pytest.fixture
def make_agent(tmp_path: Path) -> Iterator[MakeAgent]:
    """An agent on either kind of socket, closed when the test is over."""
    agents: list[Agent] = []

    def make(transport: str, **options: Any) -> Agent:
        agents.append(Agent(tmp_path / "dsd.socket" if transport == "unix" else None, **options))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the observer has logged since it was asked last; the client's own logger says more."""

    def said() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name == "instrumented_pool"]
        caplog.clear()
        return messages

    return said


class Hour:
    """The observer's own clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(_client, "monotonic", lambda: self.now)


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> Hour:
    """Stands still until a test moves it."""
    return Hour(monkeypatch)


# ---------------------------------------------------------------------- ways to send


@TRANSPORTS
async def test_report_is_packed_into_few_datagrams(transport: str, make_agent: MakeAgent, build: MakePool) -> None:
    """Each no larger than the transport carries whole, and the client is as unbuffered as it was."""
    agent = make_agent(transport)
    build(DatadogObserver("orders", statsd=agent.client))
    await ticks()
    datagrams = agent.datagrams()
    largest = {"udp": 1432, "unix": 8192}[transport]
    assert sum(len(datagram.splitlines()) for datagram in datagrams) >= 15
    assert len(datagrams) <= 3
    assert max(map(len, datagrams)) <= largest
    agent.client.gauge("mine", 1)
    assert agent.lines() == ["mine:1|g"]


async def test_acquire_of_the_old_kind_is_thirteen_values_in_five_datagrams(
    make_agent: MakeAgent, build: MakePool
) -> None:
    """The ancestor sent as many datagrams as values."""
    agent = make_agent("udp")
    pool = build(DatadogObserver("orders", statsd=agent.client, per_acquire=True))
    await use(pool)
    agent.datagrams()
    await use(pool)
    datagrams = agent.datagrams()
    assert (len(datagrams), sum(len(datagram.splitlines()) for datagram in datagrams)) == (5, 13)


@pytest.mark.parametrize("per_acquire", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"disable_buffering": False},
        {"disable_aggregation": False},
        {"disable_buffering": False, "disable_aggregation": False},
    ],
    ids=["buffered", "aggregated", "both"],
)
async def test_client_that_keeps_things_back_gives_them_out_as_the_pool_closes(
    options: dict[str, Any], per_acquire: bool, make_agent: MakeAgent, build: MakePool
) -> None:
    """Its thread would send them later, when the process may be over."""
    agent = make_agent("udp", **options, flush_interval=0)  # no such thread
    pool = build(DatadogObserver("orders", statsd=agent.client, per_acquire=per_acquire), burst_limit=2)
    async with pool.get_connection():
        await use(pool, 3)
    await pool.close()
    values = latest(agent)
    assert values["orders.pool.total_connections"] == 0
    assert values["orders.pool.getting_connection method:new"] == 4


async def test_aggregating_client_makes_one_line_of_many(make_agent: MakeAgent, build: MakePool) -> None:
    """What is sent at every acquire is cheap then: the last of a gauge, the sum of a count."""
    agent = make_agent("udp", disable_aggregation=False, flush_interval=0)
    pool = build(DatadogObserver("orders", statsd=agent.client, per_acquire=True))
    await use(pool, 100)
    agent.client.flush_aggregated_metrics()
    assert len(agent.lines()) == 7
    assert agent.lines() == []


# ---------------------------------------------------------------------- faults


@TRANSPORTS
@pytest.mark.parametrize("telemetry", [False, True], ids=["without telemetry", "with telemetry"])
async def test_agent_that_is_down_is_said_once_and_never_noticed(
    transport: str, telemetry: bool, make_agent: MakeAgent, build: MakePool, said: Callable[[], list[str]], hour: Hour
) -> None:
    """And once more when everything has arrived again for a minute; until then it might be luck."""
    agent = make_agent(transport, disable_telemetry=not telemetry)
    clock = Clock()
    pool = build(DatadogObserver("orders", report_every=10, statsd=agent.client), burst_limit=2)
    await clock.advance(0)
    assert said() == []

    agent.stop()
    for _ in range(12):
        await use(pool)
        await clock.advance(10)
        hour.now += 10
    [complaint] = said()
    where = f"{agent.client.socket_path or agent.client.port}"
    assert where in complaint
    assert "does not take what it is sent" in complaint

    agent.start()
    for reports, times_said in ((5, 0), (3, 1), (12, 0)):
        for _ in range(reports):
            await clock.advance(10)
            hour.now += 10
            agent.datagrams()
        messages = said()
        assert len(messages) == times_said
        assert all(f"{where} has taken all that it was sent for 60 seconds" in message for message in messages)
    assert pool.stats().observer_errors == 0


async def test_loss_is_known_from_the_telemetry_of_a_client_that_does_not_say(
    make_agent: MakeAgent, build: MakePool, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """Before datadog 0.56 `flush()` gave nothing back."""
    agent = make_agent("unix", disable_telemetry=False)
    agent.stop()

    def flush() -> None:
        agent.client.flush_buffered_metrics()

    monkeypatch.setattr(agent.client, "flush", flush)
    build(DatadogObserver("orders", statsd=agent.client))
    await ticks()
    assert len(said()) == 1


@TRANSPORTS
async def test_agent_that_was_never_there_is_never_noticed_by_an_acquire(
    transport: str, make_agent: MakeAgent, build: MakePool, said: Callable[[], list[str]]
) -> None:
    """Datagrams to a port that nobody listens on, or to a path where there is nothing."""
    agent = make_agent(transport)
    agent.stop()
    pool = build(DatadogObserver("orders", statsd=agent.client, per_acquire=True))
    await use(pool, 20)
    await pool.close()
    assert pool.stats().observer_errors == 0
    assert len(said()) == 1


async def test_agent_that_does_not_keep_up_neither_blocks_nor_raises(
    make_agent: MakeAgent, build: MakePool, said: Callable[[], list[str]]
) -> None:
    """Its socket buffer is full: what is sent is dropped, said once, and arrives again when there is room."""
    agent = make_agent("unix")
    with contextlib.suppress(BlockingIOError):
        while True:
            agent.client.get_socket().send(b"full:1|g\n")
    clock = Clock()
    build(DatadogObserver("orders", report_every=10, statsd=agent.client))
    for _ in range(3):
        await clock.advance(10)
    assert len(said()) == 1
    assert set(agent.datagrams()) == {"full:1|g\n"}
    await clock.advance(10)
    assert latest(agent)["orders.pool.waiting"] == 0


class BrokenStatsd(DogStatsd):
    def _fail(self, *_: object, **__: object) -> Any:
        raise OSError(f"udp://app:{FakeConnection.password}@agent is on fire")

    gauge = increment = event = _report = _fail


async def test_statsd_client_that_raises_is_logged_once_and_never_noticed(
    build: MakePool, traces: KeptTraces, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither callers nor spans nor the pool's own books suffer from it."""
    for per_acquire in (False, True):
        traces.spans.clear()
        caplog.clear()
        broken = BrokenStatsd(disable_telemetry=True)
        clock = Clock()
        pool = build(DatadogObserver("orders", statsd=broken, per_acquire=per_acquire), burst_limit=2)
        async with pool.get_connection():
            await use(pool)
        await clock.advance(100)
        assert traces.names.count("orders.pool.acquire_connection") == 2
        assert tracer.current_span() is None
        assert pool.stats().observer_errors == 0
        assert [(r.levelno, r.name) for r in caplog.records] == [(logging.ERROR, "instrumented_pool")]
        assert FakeConnection.password not in caplog.text
        await pool.close()


async def test_client_whose_batches_fail_is_given_the_rest_all_the_same(
    make_agent: MakeAgent, build: MakePool, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """One call that raises takes no other along."""
    agent = make_agent("udp")

    def fail() -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(agent.client, "open_buffer", fail)
    build(DatadogObserver("orders", statsd=agent.client))
    await ticks()
    assert latest(agent)["orders.pool.waiting"] == 0
    assert len(said()) == 1
