"""An agent for Datadog's metrics on a real socket, a filter that keeps traces in the process, and a clock."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

from datadog.dogstatsd.base import DogStatsd
from ddtrace.trace import Span, TraceFilter


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
    tags: frozenset[str]


class Agent:
    """Receives datagrams on the loopback interface, where they are there as soon as they are sent."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.client = DogStatsd(host="127.0.0.1", port=self.socket.getsockname()[1], disable_telemetry=True)

    def lines(self) -> list[str]:
        """Everything that arrived since the last call."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return lines

    def metrics(self) -> list[Metric]:
        return [_metric(line) for line in self.lines() if not line.startswith("_e{")]

    def events(self) -> list[AgentEvent]:
        return [_event(line) for line in self.lines() if line.startswith("_e{")]

    def close(self) -> None:
        self.client.close_socket()
        self.socket.close()


def _metric(line: str) -> Metric:
    head, kind, *rest = line.split("|")
    name, value = head.split(":")
    fields = {part[0]: part[1:] for part in rest}
    tags = frozenset(fields.get("#", "").split(","))
    return Metric(name, float(value), kind, tags, 1 / float(fields.get("@", "1")))


def _event(line: str) -> AgentEvent:
    head, text, *rest = line.split("|")
    fields = {part[0]: part[1:].removeprefix(":") for part in rest}
    return AgentEvent(head.partition(":")[2], text, fields["t"], frozenset(fields["#"].split(",")))


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
