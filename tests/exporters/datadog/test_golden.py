"""Call for call what the ancestor sent, as `datadog_golden.json` recorded it.

The same scripts run on the ancestor itself, which shows that recorders and scripts are those of the record.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncio_connection_pool
import asyncio_connection_pool.contrib.datadog as ancestor
import pytest
from datadog.dogstatsd.base import DogStatsd

import instrumented_pool_datadog
from instrumented_pool_datadog import _observer as ours
from support.datadog_agent import ticks

GOLDEN = json.loads(Path(__file__).with_name("datadog_golden.json").read_text())
ANCESTOR: Any = ancestor.ConnectionPool
OURS: Any = instrumented_pool_datadog.ConnectionPool

Row = list[Any]
Pool = Any  # the two have nothing in common but their methods' names


class RecordingStatsd(DogStatsd):
    def __init__(self, rows: list[Row]) -> None:
        super().__init__(disable_telemetry=True)
        self.rows = rows

    def gauge(self, metric: Any, value: Any, tags: Any = None, *_: Any, **__: Any) -> None:
        self.rows.append(["gauge", metric, value, tags])

    def increment(self, metric: Any, value: Any = 1, tags: Any = None, *_: Any, **__: Any) -> None:
        self.rows.append(["incr", metric, value, tags])

    def event(self, title: Any, message: Any, alert_type: Any = None, *_: Any, tags: Any = None, **__: Any) -> None:
        self.rows.append(["event", title, message, alert_type, tags])


class RecordingSpan:
    """Ended by `finish()` after its error was set, as ours are, or by leaving a `with`, as the ancestor's."""

    current: ContextVar["RecordingSpan | None"] = ContextVar("current", default=None)

    def __init__(self, rows: list[Row], name: str) -> None:
        self.rows, self.name, self.tags, self.error = rows, name, dict[str, str](), 0
        self.parent = RecordingSpan.current.get()
        RecordingSpan.current.set(self)
        rows.append(["span>", name, f"parent={self.parent.name if self.parent else None}"])

    def set_tag(self, key: str, value: str) -> None:
        self.tags[key] = value

    def set_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags

    def finish(self) -> None:
        if RecordingSpan.current.get() is self:
            RecordingSpan.current.set(self.parent)
        error = self.tags["error.type"].rpartition(".")[2] if self.error else "-"
        self.rows.append(["span<", self.name, f"error={error}"])

    def __enter__(self) -> "RecordingSpan":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if kind:
            self.error, self.tags["error.type"] = 1, kind.__name__
        self.finish()


class RecordingTracer:
    enabled = True

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def trace(self, name: str, service: str) -> RecordingSpan:
        assert service == "svc"
        return RecordingSpan(self.rows, name)


class Strategy(asyncio_connection_pool.ConnectionStrategy[int]):
    """The ancestor's own kind, as our class takes it too."""

    def __init__(self, rows: list[Row], error: Exception | None) -> None:
        self.rows, self.error, self.made = rows, error, 0

    async def make_connection(self) -> int:
        if self.error:
            raise self.error
        self.made += 1
        return self.made

    def connection_is_closed(self, conn: int) -> bool:
        return False

    async def close_connection(self, conn: int) -> None:
        self.rows.append(["strategy.close", conn])


class Script:
    """Builds a pool on recorders, and marks what it does."""

    def __init__(self, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[Row] = []
        self._pool = pool
        module: Any = ancestor
        monkeypatch.setattr(module, "statsd", RecordingStatsd(self.rows))
        monkeypatch.setattr(module, "tracer", RecordingTracer(self.rows))
        monkeypatch.setattr(ours, "_statsd", RecordingStatsd(self.rows))
        monkeypatch.setattr(ours, "_tracer", RecordingTracer(self.rows))

    def build(self, *, error: Exception | None = None, **sizes: int) -> Pool:
        self.built = self._pool("svc", extra_tags=["env:t"], strategy=Strategy(self.rows, error), **sizes)
        return self.built

    def start(self) -> None:
        self.rows.clear()

    def mark(self, text: str) -> None:
        self.rows.append(["--", text])


async def new_then_available(script: Script) -> None:
    """A connection is made, given back and taken again."""
    pool = script.build(max_size=1)
    await ticks()
    script.mark("constructed+1 tick")
    async with pool.get_connection():
        script.mark("body")
    script.mark("released")
    async with pool.get_connection():
        script.mark("body(available)")
    script.mark("released")


async def wait(script: Script) -> None:
    """A second caller queues for the only connection."""
    pool = script.build(max_size=1)
    holder = pool.get_connection()
    await holder.__aenter__()
    script.start()

    async def second() -> None:
        async with pool.get_connection():
            script.mark("waiter body")

    waiter = asyncio.create_task(second())
    await ticks(3)
    script.mark("holder releases")
    await holder.__aexit__(None, None, None)
    await waiter


async def burst(script: Script) -> None:
    """A second connection is made above `max_size`, and closed."""
    pool = script.build(max_size=1, burst_limit=2)
    await ticks()
    script.start()
    async with pool.get_connection():
        script.mark("first held")
        async with pool.get_connection():
            script.mark("burst held")
        script.mark("burst released")


async def create_fails(script: Script) -> None:
    """The caller is given the strategy's error."""
    pool = script.build(max_size=1, error=RuntimeError("no"))
    await ticks()
    script.start()
    with pytest.raises(RuntimeError, match="no"):
        async with pool.get_connection():
            pass
    script.mark("raised")


SCENARIOS: dict[str, Callable[[Script], Awaitable[None]]] = {
    "new_then_available": new_then_available,
    "wait": wait,
    "burst": burst,
    "create_fails": create_fails,
}


def more_truthful(scenario: str) -> list[Row]:
    """The record with the two differences that its `_parity` permits, each of them required."""
    rows: list[Row] = [list(row) for row in GOLDEN[scenario]]
    for row in rows:
        if row[1] == "svc pool reached burst limit":
            row[2] = "There are not enough connections to satisfy all users"
    if scenario == "wait":  # the connection on its way to the queued caller is in use
        handed_over = rows.index(["--", "holder releases"]) + 1
        for row in rows[handed_over : handed_over + 5]:
            row[2] = {"svc.pool.available_connections": 0, "svc.pool.connections_used": 1}.get(row[1], row[2])
    return rows


def test_every_scenario_of_the_record_is_run() -> None:
    """A scenario that is added to the record must be added here."""
    assert SCENARIOS.keys() == {name for name in GOLDEN if not name.startswith("_")}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_old_class_sends_what_the_ancestor_sent(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, values, tags, titles, alert types, order and nesting, row for row."""
    script = Script(OURS, monkeypatch)
    await SCENARIOS[scenario](script)
    assert script.rows == more_truthful(scenario)
    await script.built.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_ancestor_sends_what_the_record_says(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the scripts are those that were recorded."""
    script = Script(ANCESTOR, monkeypatch)
    await SCENARIOS[scenario](script)
    assert script.rows == GOLDEN[scenario]
