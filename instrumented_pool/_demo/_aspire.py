"""The Aspire dashboard, where it is installed: a process of ours that shows the traces in a browser."""

import asyncio
import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import Self

from .._servers import HOST, free_port, is_there
from .._servers._server import launcher
from ._errors import CannotRun

_PATIENCE = 60.0  # seconds; at its first start it unpacks itself
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def package() -> str:
    """The npm package that holds the dashboard for this platform."""
    system = {"darwin": "osx"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return f"@microsoft/aspire-cli-{system}-{_MACHINES.get(machine, machine)}"


def how_to_install() -> str:
    """In one line."""
    return f"--view needs the Aspire dashboard: npm install --global --ignore-scripts {package()}"


def find() -> str | None:
    """The dashboard's executable: named by INSTRUMENTED_POOL_ASPIRE, installed by npm here or globally, or on PATH."""
    inside = Path("node_modules", *package().split("/"), "bin", "aspire")
    roots = [Path.cwd(), *_global_roots()]
    places = [os.environ.get("INSTRUMENTED_POOL_ASPIRE", ""), *(str(root / inside) for root in roots)]
    return next((place for place in places if place and os.access(place, os.X_OK)), None) or shutil.which("aspire")


def _global_roots() -> list[Path]:
    npm = shutil.which("npm")
    if npm is None:
        return []
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, timeout=10, check=False)
        return [Path(done.stdout.strip()).parent]
    return []


class Dashboard:
    """A running dashboard.

    Attributes:
        url: where a browser finds it.
        otlp: where it takes OTLP over HTTP.
    """

    def __init__(self, executable: str) -> None:
        self._executable = executable
        self._process: subprocess.Popen[bytes] | None = None
        self.url, self.otlp = f"http://{HOST}:{free_port()}", f"http://{HOST}:{free_port()}"

    async def __aenter__(self) -> Self:
        try:
            self._process = self._spawn()
            await self._up()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def link(self, trace_id: str) -> str:
        """Where one trace is shown."""
        return f"{self.url}/traces/detail/{trace_id}"

    def show(self, trace_id: str) -> None:
        """Open a browser at a trace, where there is a desktop to open it on."""
        if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(self.link(trace_id))

    def stop(self) -> None:
        """End it, and what it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        words = ["dashboard", "run", "--allow-anonymous", "--non-interactive", "--nologo", "--frontend-url", self.url]
        words += ["--otlp-http-url", self.otlp, "--otlp-grpc-url", f"http://{HOST}:{free_port()}"]
        return subprocess.Popen(
            [*launcher(), self._executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    async def _up(self) -> None:
        deadline, port = time.monotonic() + _PATIENCE, int(self.otlp.rpartition(":")[2])
        while not await is_there(HOST, port):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise CannotRun(f"the Aspire dashboard does not start ({self._executable})")
            await asyncio.sleep(0.1)
