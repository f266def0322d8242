"""Programs run as their users run them, by the commands of a page and by `opentelemetry-instrument`."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from instrumented_pool._servers import HOST, NotInstalled, Postgres, is_there

from .otlp import Receiver
from .pages import ROOT

PATIENCE = 60.0  # seconds

UNWANTED = "sqlalchemy"
"""The instrumentation that comes with the benchmarks: it complains that SQLAlchemy is newer than it knows."""


def environment(receiver: Receiver, **settings: str) -> dict[str, str]:
    """That of a program which exports to a receiver, and finds what is installed beside this Python first."""
    exporting = {
        "OTEL_SERVICE_NAME": "orders",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": UNWANTED,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return {**os.environ, **exporting, **settings}


@contextlib.asynccontextmanager
async def started(commands: str, log: Path, settings: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The program that the last line of some commands starts, in the root of the tree; killed, if it is still there."""
    *before, last = commands.rstrip().splitlines()
    script = "\n".join([*before, f"exec {last}"])
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script, cwd=ROOT, env=settings, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def listens(process: asyncio.subprocess.Process, port: int) -> None:
    """Wait until a program that was started listens on a port."""
    async with asyncio.timeout(PATIENCE):
        while process.returncode is None and not await is_there(HOST, port):
            await asyncio.sleep(0.05)
    assert process.returncode is None


async def transcript(shown: str, *, elsewhere: dict[str, str]) -> str:
    """Run the commands of a console, and show it as it looks then. Some words mean something else here than there."""
    if shutil.which("curl") is None:
        raise NotInstalled("no curl is here: apt-get install curl")
    lines: list[str] = []
    for command in re.findall(r"(?m)^\$ (.*)$", shown):
        here = command
        for there, instead in elsewhere.items():
            here = here.replace(there, instead)
        process = await asyncio.create_subprocess_shell(here, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        told = output.decode().rstrip("\n")
        for there, instead in elsewhere.items():
            told = told.replace(instead, there)
        lines += [f"$ {command}", *(line.rstrip() for line in told.splitlines())]
    return "\n".join([*lines, ""])


def trees(receiver: Receiver) -> Counter[str]:
    """The traces that were received, drawn, and how many look like that."""
    spans = sorted((span for _, _, span in receiver.spans()), key=lambda span: span.start_time_unix_nano)
    below: dict[bytes, list[Span]] = {}
    for span in spans:
        below.setdefault(span.parent_span_id, []).append(span)
    known = {span.span_id for span in spans}
    roots = (span for span in spans if span.parent_span_id not in known)
    return Counter("\n".join([root.name, *_drawn(root, below)]) + "\n" for root in roots)


def _drawn(span: Span, below: dict[bytes, list[Span]]) -> Iterator[str]:
    children = below.get(span.span_id, [])
    for child in children:
        corner, bar = ("└─ ", "   ") if child is children[-1] else ("├─ ", "│  ")
        yield f"{corner}{child.name}"
        yield from (f"{bar}{line}" for line in _drawn(child, below))


async def clients(database: Postgres) -> int:
    """How many have a connection to a database, but for who asks."""
    connection = await asyncpg.connect(database.url)
    try:
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(await connection.fetchval(others))
    finally:
        await connection.close()


def placeless(log: str) -> str:
    """A log without what differs from run to run and from Python to Python."""
    for what, instead in (
        (r"\S+ has held connection \d+", "N has held connection N"),
        (r"\d+\.\d+", "0.0"),
        (r"\((?!examples/)([^():]+):\d+\)", r"(\1)"),
        (r'"(trace_id|request)": "[0-9a-f]{32}"', r'"\1": "…"'),
        (r'"acquire_id": \d+', '"acquire_id": N'),
    ):
        log = re.sub(what, instead, log)
    return log
