"""The Aspire dashboard, where it is installed: a process of ours that shows the traces in a browser."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import ClassVar

from .._servers import Server, free_port, is_there

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


class Dashboard(Server):
    """A running dashboard."""

    name: ClassVar[str] = "Aspire"
    patience: ClassVar[float] = 60.0  # at its first start it unpacks itself

    def __init__(self, executable: str) -> None:
        super().__init__()
        self._executable = os.path.abspath(executable)
        self._otlp = 0

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{self.host}:{self.port}"

    @property
    def otlp(self) -> str:
        """Where it takes OTLP over HTTP."""
        return f"http://{self.host}:{self._otlp}"

    def command(self) -> list[str]:
        """The dashboard alone, which lets everybody in."""
        self._otlp = free_port()
        words = ["dashboard", "run", "--allow-anonymous", "--non-interactive", "--nologo", "--frontend-url", self.url]
        words += ["--otlp-http-url", self.otlp, "--otlp-grpc-url", f"http://{self.host}:{free_port()}"]
        return [self._executable, *words]

    async def answers(self) -> bool:
        """Whether traces can be sent to it."""
        return await is_there(self.host, self._otlp)

    def link(self, trace_id: str) -> str:
        """Where one trace is shown."""
        return f"{self.url}/traces/detail/{trace_id}"

    def show(self, trace_id: str) -> None:
        """Open a browser at a trace, where there is a desktop to open it on."""
        if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(self.link(trace_id))
