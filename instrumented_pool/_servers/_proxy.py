"""A TCP proxy that does to connections what networks and servers do: delay, stall, cut and refuse."""

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Self

from ._server import HOST

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: closing sends RST


class Proxy:
    """Listens on a loopback port of its own and passes everything on to `host`:`port`.

    Args:
        host, port: of the server.
        tls: what it shows to clients that must speak TLS with it from the first byte; the server then needs to know
            nothing of that.

    Attributes:
        host, port: where it listens, once started.
        target: the host and the port that new connections are passed on to.
        delay: seconds by which every piece of an answer is held back.
        swallows: each connection loses its next answer from the middle on, and every later one.
        links: the connections there are, each with the task that serves it.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port = HOST, 0
        self.target = host, port
        self.delay = 0.0
        self.swallows = False
        self._tls = tls
        self._unanswered: list[socket.socket] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.Server | None = None
        self.links: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.refuse()
        # What was accepted already is admitted two rounds of the loop later, and closed three after that.
        for _ in range(10):
            await self.cut()
            await asyncio.sleep(0)

    async def accept(self) -> None:
        """Listen, again on the same port after `refuse()` or `ignore()`."""
        if self._listener is None:
            self.refuse()
            self._listener = await asyncio.start_server(self._admit, self.host, self.port, backlog=512, ssl=self._tls)
            self.port = self._listener.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections; those there are stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for sock in self._unanswered:
            sock.close()
        self._unanswered.clear()

    def ignore(self) -> None:
        """Leave new connections without any answer, as a firewall does that drops them; those there are stay.

        So does Linux with who knocks at a socket whose queue is full.
        """
        self.refuse()
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, self.port))
        listening.listen(0)
        self._unanswered.append(listening)
        for _ in range(2):  # the first fills the queue
            knocking = socket.socket()
            knocking.setblocking(False)
            knocking.connect_ex((self.host, self.port))
            self._unanswered.append(knocking)

    def stall(self) -> None:
        """Go on accepting connections, but let nothing through in either direction."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let everything through that was held back, and what comes."""
        self._flowing.set()

    async def cut(self, *, reset: bool = False) -> None:
        """Cut all connections: with FIN, as a server that closes them, or with RST, as one that lost them."""
        links = dict(self.links)
        for writer, task in links.items():
            if reset:
                _closes_with_reset(writer)
            task.cancel()
        await asyncio.gather(*links.values(), return_exceptions=True)

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self.links[writer] = task
        task.add_done_callback(lambda _: self._dismiss(writer))

    def _dismiss(self, writer: asyncio.StreamWriter) -> None:
        """Close it: not the task does that, which may have been cancelled before its first step."""
        _close(writer)
        asyncio.get_running_loop().call_soon(self.links.pop, writer)  # it is closed in the next round, and then gone

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        try:
            there, onward = await asyncio.open_connection(*self.target)
        except OSError:
            _closes_with_reset(writer)
            return
        pumps = {
            asyncio.create_task(self._pump(reader, onward)),
            asyncio.create_task(self._pump_answers(there, writer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            _close(onward)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                await self._flowing.wait()
                sink.write(piece)
                await sink.drain()

    async def _pump_answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flowing.wait()
                if self.swallows:
                    sink.write(piece[: (len(piece) + 1) // 2])
                    await asyncio.get_running_loop().create_future()  # until the client hangs up
                sink.write(piece)
                await sink.drain()


def _close(writer: asyncio.StreamWriter) -> None:
    """Close it; over TLS without a good-bye, for which asyncio would wait half a minute."""
    if writer.get_extra_info("ssl_object") is None:
        writer.close()
    else:
        writer.transport.abort()


def _closes_with_reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
