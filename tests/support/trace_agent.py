"""Datadog's own test agent, in an environment of its own, and programs that `ddtrace-run` traces to it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from instrumented_pool._servers import NotInstalled, Server, free_port

_PYTHON = Path(__file__).parents[2] / ".venv-agent" / "bin" / "python"
_PATIENCE = 30.0  # seconds in which it has to come up


@dataclass(frozen=True)
class Node:
    """A span and those below it, in the order in which they began."""

    name: str
    resource: str
    service: str
    tags: Mapping[str, str]
    error: bool
    children: tuple["Node", ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        yield self.name
        for child in self.children:
            yield from (f"  {line}" for line in child._lines())


class TraceAgent(Server):
    """`ddapm-test-agent` on free ports of the loopback interface."""

    name: ClassVar[str] = "ddapm-test-agent"
    patience: ClassVar[float] = _PATIENCE
    farewell: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def url(self) -> str:
        """Where traces are sent to."""
        return f"http://{self.host}:{self.port}"

    def command(self) -> list[str]:
        """That of the environment which it has of its own."""
        if not _PYTHON.exists():
            raise NotInstalled("there is no ddapm-test-agent in .venv-agent: `make test` puts it there")
        ports = {"--port": self.port, "--otlp-http-port": free_port(), "--otlp-grpc-port": free_port()}
        return [str(_PYTHON), "-m", "ddapm_test_agent.agent", *(str(word) for pair in ports.items() for word in pair)]

    async def answers(self) -> bool:
        """Whether it says what it is."""
        await asyncio.to_thread(self._get, "/info")
        return True

    def traces(self) -> list[Node]:
        """The root of every trace that arrived, in the order in which they began."""
        spans = [span for trace in self._get("/test/traces") for span in trace]
        return _below(0, sorted(spans, key=lambda span: int(span["start"])))

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=_PATIENCE) as answer:
            return json.load(answer)


def _below(parent_id: int, spans: list[dict[str, Any]]) -> list[Node]:
    return [
        Node(
            name=span["name"],
            resource=span["resource"],
            service=span["service"],
            tags=span["meta"],
            error=bool(span["error"]),
            children=tuple(_below(span["span_id"], spans)),
        )
        for span in spans
        if (span["parent_id"] or 0) == parent_id
    ]


def ddtrace_run(script: Path, *arguments: str, **environment: str) -> None:
    """Run a program as `ddtrace-run` runs it, with nothing patched but by that; it may print nothing."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "DATADOG_"))}
    own["DD_CODE_ORIGIN_FOR_SPANS_ENABLED"] = "false"  # after a second it complains that the test agent takes none
    done = subprocess.run(
        [Path(sys.executable).with_name("ddtrace-run"), sys.executable, script, *arguments],
        env={**own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, said
    assert not said, said
