"""An agent for Datadog's metrics on a real socket, a filter that keeps traces in the process, and a clock."""

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datadog.dogstatsd.base import DogStatsd
from ddtrace.trace import Span, TraceFilter

from .fakes import Pool


@dataclass(frozen=True)
class Metric:
    """One line of DogStatsD's protocol; `stands_for` is how many values a sampled one is worth."""

    name: str
    value: float
    kind: str
    tags: frozenset[str]
    stands_for: float


@dataclass(frozen=True)
class AgentEvent:
    title: str
    text: str
    alert_type: str
    aggregation_key: str
    tags: frozenset[str]


class Agent:
    """Receives datagrams on the loopback interface, or at `path`, where they are there as soon as they are sent.

    Args:
        path: of a UNIX socket.
        **options: of the client.
    """

    def __init__(self, path: Path | None = None, **options: Any) -> None:
        self._path = path
        self._socket = self._listening()
        where: dict[str, Any] = {"host": "127.0.0.1", "port": self.port} if path is None else {"socket_path": str(path)}
        settings: dict[str, Any] = {"disable_telemetry": True, **where, **options}
        self.client = DogStatsd(**settings)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def datagrams(self) -> list[str]:
        """Everything that arrived since the last call."""
        datagrams: list[str] = []
        while True:
            try:
                datagrams.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return datagrams

    def lines(self) -> list[str]:
        return [line for datagram in self.datagrams() for line in datagram.splitlines()]

    def metrics(self) -> list[Metric]:
        return [_metric(line) for line in self.lines() if not line.startswith("_e{")]

    def events(self) -> list[AgentEvent]:
        return [_event(line) for line in self.lines() if line.startswith("_e{")]

    def stop(self) -> None:
        """From now on nobody listens."""
        self._address = self._socket.getsockname()
        self._socket.close()
        if self._path is not None:
            self._path.unlink()

    def start(self) -> None:
        """Listen again, where it did before."""
        self._socket = self._listening(self._address)

    def close(self) -> None:
        self.client.stop()
        self._socket.close()

    def _listening(self, address: Any = ("127.0.0.1", 0)) -> socket.socket:
        if self._path is None:
            listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            listening.bind(address)
        else:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            listening.bind(str(self._path))
        listening.setblocking(False)
        return listening


def _metric(line: str) -> Metric:
    head, kind, *rest = line.split("|")
    name, value = head.split(":")
    fields = {part[0]: part[1:] for part in rest}
    tags = frozenset(filter(None, fields.get("#", "").split(",")))
    return Metric(name, float(value), kind, tags, 1 / float(fields.get("@", "1")))


def _event(line: str) -> AgentEvent:
    head, text, *rest = line.split("|")
    fields = {part[0]: part[1:].removeprefix(":") for part in rest}
    return AgentEvent(head.partition(":")[2], text, fields["t"], fields["k"], frozenset(fields["#"].split(",")))


def latest(agent: Agent) -> dict[str, float]:
    """The value of each metric and tag, the agent's own way: the last of a gauge, the sum of a count."""
    values: dict[str, float] = {}
    for metric in agent.metrics():
        own = sorted(metric.tags - {"env:t", "pool:orders-db", "service:orders"})
        key = " ".join([metric.name, *own])
        values[key] = metric.value + (values.get(key, 0) if metric.kind == "c" else 0)
    return values


class KeptTraces(TraceFilter):
    """Keeps every finished trace, and lets none leave: there is no trace agent to send to."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def process_trace(self, trace: list[Span]) -> None:
        self.spans += trace

    def named(self, name: str) -> Span:
        """The only finished span of this name."""
        [span] = [span for span in self.spans if span.name == name]
        return span

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


async def use(pool: Pool, times: int = 1) -> None:
    """Borrow and give back."""
    for _ in range(times):
        async with pool.get_connection():
            pass


async def ticks(count: int = 1) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


class Clock:
    """The running loop's time, which stands still until it is told to go on."""

    def __init__(self) -> None:
        self.loop: Any = asyncio.get_running_loop()
        self.now = self.loop.time()
        self.loop.time = lambda: self.now  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        await ticks(2)
