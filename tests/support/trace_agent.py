"""Datadog's own test agent, in an environment of its own, and programs that `ddtrace-run` traces to it."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from instrumented_pool._servers import free_port
from instrumented_pool._servers._server import launcher

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


class TraceAgent:
    """`ddapm-test-agent` on free ports of the loopback interface."""

    def __init__(self) -> None:
        if not _PYTHON.exists():
            pytest.skip("there is no ddapm-test-agent in .venv-agent: `make test` puts it there")
        self._directory = tempfile.TemporaryDirectory(prefix="instrumented-pool-agent-")
        self._log = Path(self._directory.name) / "agent.log"
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._directory.cleanup()

    def _start(self) -> None:
        # Between our finding free ports and the agent's taking them, somebody else may: then try others.
        for _ in range(5):
            ports = [str(free_port()) for _ in range(3)]
            self.url = f"http://127.0.0.1:{ports[0]}"
            options = ["--port", ports[0], "--otlp-http-port", ports[1], "--otlp-grpc-port", ports[2]]
            command = [*launcher(), str(_PYTHON), "-m", "ddapm_test_agent.agent", *options]
            with self._log.open("w") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=self._directory.name,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    process_group=0,  # a Ctrl-C at the terminal is for us
                )
            if self._answers():
                return
        raise AssertionError(f"the test agent does not start:\n{self.log()}")

    def _answers(self) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._get("/info")
            except OSError:
                time.sleep(0.02)
            else:
                return True
        self._process.kill()
        self._process.wait()
        return False

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=_PATIENCE) as answer:
            return json.load(answer)

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def traces(self) -> list[Node]:
        """The root of every trace that arrived, in the order in which they began."""
        spans = [span for trace in self._get("/test/traces") for span in trace]
        return _below(0, sorted(spans, key=lambda span: int(span["start"])))


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
