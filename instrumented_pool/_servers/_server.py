"""What every server of ours is: a process on a free loopback port, which dies when we do."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

HOST = "127.0.0.1"
_TRIES = 5

# Becomes the command behind it, having asked the kernel (PR_SET_PDEATHSIG) for a signal when we end, were it by
# SIGKILL. Not a preexec_fn: that is unsafe where there are threads, and exporters have some.
_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[1]))
if os.getppid() == int(sys.argv[2]):
    os.execvp(sys.argv[3], sys.argv[3:])
"""


class CannotStart(Exception):
    """A server does not start. The text is for the user, without credentials."""


class NotInstalled(CannotStart):
    """The program of a server is not on this machine. The text says what to install."""


class Server(ABC):
    """A process of ours that serves at `host`:`port`, with a directory of its own for whatever it writes.

    It is stopped by `stop()`, at the latest as this process ends: on Linux the kernel sees to that, however it ends.
    Start it on the main thread, for the kernel takes the end of a thread for the end of the process.

    Attributes:
        host, port: where it listens, once started. The port stays the same when it is started again.
        directory: of its own, gone when it is stopped.
        name: in error messages.
        patience: seconds in which it has to come up.
        farewell: the signal that lets it go in good order.
    """

    name: ClassVar[str]
    patience: ClassVar[float] = 10.0
    farewell: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self) -> None:
        self.host = HOST
        self.port = 0
        self._has_been_up = False
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"instrumented-pool-{self.name.lower()}-",
            ignore_cleanup_errors=True,  # a killed process may still be writing there
        )
        self.directory = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What to run, to listen on `self.port`. It is asked before each try.

        Raises:
            NotInstalled: it is not on this machine.
        """

    @abstractmethod
    async def answers(self) -> bool:
        """Whether it is up, as far as a client of its own protocol can see."""

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
            NotInstalled: its program is not on this machine.
            CannotStart: it does not come up.
        """
        # Between our finding a free port and its being taken, somebody else may: then try another.
        for _ in range(_TRIES):
            if not self._has_been_up:
                self.port = free_port()
            if await self._is_up():
                self._has_been_up = True
                return
            hangs = self._process is not None and self._process.poll() is None
            self.kill()
            if hangs:
                break
        raise CannotStart(f"{self.name} does not start: {self.last_words()}")

    def kill(self) -> None:
        """SIGKILL, to all its processes: no good-bye to any client. It can be started again."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP, to all its processes: the kernel goes on accepting connections for it, and it answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on where it was."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it for good."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(self.farewell)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self.patience)
        self.kill()
        self._temporary.cleanup()

    def last_words(self) -> str:
        """The last line of what it has printed."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "it says nothing")

    @property
    def log(self) -> Path:
        """What it has printed since it was last started."""
        return self.directory / "log"

    async def _is_up(self) -> bool:
        self._process = process = self._spawn()
        deadline = time.monotonic() + self.patience
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(1.0):
                    if await self.answers():
                        return True
            await asyncio.sleep(0.005)
        return False

    def _spawn(self) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-ISc", _LAUNCHER, str(int(self.farewell)), str(os.getpid())]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*(launcher if sys.platform == "linux" else []), *self.command()],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # a Ctrl-C at the terminal is for us; we stop the server when we are done with it
            )

    def _signal(self, number: signal.Signals) -> None:
        """To the process and all that it started, stopped first so that it starts no more meanwhile."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGSTOP)
            for pid in _descendants(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            os.killpg(self._process.pid, number)


def _descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that they have; none where the system does not tell."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


async def is_there(host: str, port: int) -> bool:
    """Whether something accepts connections there, within two seconds."""
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def free_port() -> int:
    """A loopback port that nobody has, now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
