"""What goes wrong in production: one function for each, which brings the fault about, and ends it."""

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from ..waits import eventually
from .subjects import LIMIT

if TYPE_CHECKING:
    from .trials import Outcome, Scene


@asynccontextmanager
async def connect_refused(scene: "Scene") -> AsyncIterator[None]:
    """All connections are cut, and nobody listens at the port."""
    scene.proxy.refuse()
    await scene.proxy.cut()
    yield
    await scene.proxy.accept()


@asynccontextmanager
async def connect_hanging(scene: "Scene") -> AsyncIterator[None]:
    """All connections are cut, and who connects is not answered, as by a firewall that drops it."""
    scene.proxy.ignore()
    await scene.proxy.cut()
    yield
    await scene.proxy.accept()


@asynccontextmanager
async def cut_by_fin(scene: "Scene") -> AsyncIterator[None]:
    """All connections are closed in the middle of the work, and once more."""
    await scene.proxy.cut()
    yield
    await scene.proxy.cut()


@asynccontextmanager
async def cut_by_rst(scene: "Scene") -> AsyncIterator[None]:
    """All connections are reset in the middle of the work, and once more."""
    await scene.proxy.cut(reset=True)
    yield
    await scene.proxy.cut(reset=True)


@asynccontextmanager
async def cut_by_fin_while_idle(scene: "Scene") -> AsyncIterator[None]:
    """All connections are closed while nobody uses one."""
    async with scene.crowd.at_rest():
        await scene.proxy.cut()
        await _idle_are_closed(scene)
    yield


@asynccontextmanager
async def cut_by_rst_while_idle(scene: "Scene") -> AsyncIterator[None]:
    """All connections are reset while nobody uses one."""
    async with scene.crowd.at_rest():
        await scene.proxy.cut(reset=True)
        await _idle_are_closed(scene)
    yield


async def _idle_are_closed(scene: "Scene") -> None:
    """Wait until it shows: who asks in the very moment of the cut uses what is lost already, and none dies idle."""
    pool = scene.pool
    await eventually(lambda: all(pool._strategy.connection_is_closed(slot.conn) for slot in pool._idle))


@asynccontextmanager
async def black_hole(scene: "Scene") -> AsyncIterator[None]:
    """Each connection loses its next reply from the middle on, and whatever follows, and nobody hangs up."""
    scene.proxy.swallows = True
    yield
    scene.proxy.swallows = False


@asynccontextmanager
async def delay(scene: "Scene") -> AsyncIterator[None]:
    """Each reply takes about as long as its caller is willing to wait."""
    scene.proxy.delay = scene.crowd.PATIENCE * 0.6
    yield
    scene.proxy.delay = 0.0


@asynccontextmanager
async def stopped(scene: "Scene") -> AsyncIterator[None]:
    """The server is stopped (SIGSTOP) and continued: it is connected to meanwhile, and answers it all at once."""
    scene.server.pause()
    yield
    scene.server.resume()


@asynccontextmanager
async def killed(scene: "Scene") -> AsyncIterator[None]:
    """The server is killed (SIGKILL), and started again on its port."""
    scene.server.kill()
    scene.proxy.refuse()
    yield
    await scene.server.start()
    await scene.proxy.accept()


@asynccontextmanager
async def failed_over(scene: "Scene") -> AsyncIterator[None]:
    """The server is killed; who connects is hung up on, as by a load balancer, until another one takes over."""
    scene.server.kill()
    yield
    scene.fail_over()


@asynccontextmanager
async def limit_reached(scene: "Scene") -> AsyncIterator[None]:
    """All connections are cut, and others are faster: of those that the server admits, they leave two."""
    scene.proxy.refuse()
    await scene.proxy.cut()
    async with AsyncExitStack() as others:
        async with scene.another_client(), scene.another_client():
            more = (others.enter_async_context(scene.another_client()) for _ in range(LIMIT))
            await asyncio.gather(*more, return_exceptions=True)
        await scene.proxy.accept()
        yield


@asynccontextmanager
async def tls_handshake_failing(scene: "Scene") -> AsyncIterator[None]:
    """All connections are cut, and the server shows a certificate that nobody trusts."""
    scene.certificates.show(foreign=True)
    await scene.proxy.cut()
    yield
    scene.certificates.show()


@asynccontextmanager
async def dns_failing(scene: "Scene") -> AsyncIterator[None]:
    """All connections are cut, and the server's name is not known."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with patch("socket.getaddrinfo", unknown):
        await scene.proxy.cut()
        yield


@dataclass(frozen=True)
class Fault:
    """One way in which things go wrong.

    Attributes:
        play: brings it about, and ends it.
        bites: whether it has been felt; a fault that nobody feels proves nothing.
        tls: the server is spoken to by TLS.
        by_name: the server is connected to by its name.
    """

    play: "Callable[[Scene], AbstractAsyncContextManager[None]]"
    bites: "Callable[[Outcome], bool]"
    tls: bool = False
    by_name: bool = False

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.play.__name__.replace("_", " ").replace("fin", "FIN").replace("rst", "RST")

    @property
    def what(self) -> str:
        """What happens."""
        return " ".join((inspect.getdoc(self.play) or "").split())


def cannot_connect(outcome: "Outcome") -> bool:
    return outcome.stats.create_errors > 0


def bodies_fail(outcome: "Outcome") -> bool:
    return outcome.failed > 0


def idle_die(outcome: "Outcome") -> bool:
    return outcome.stats.closed["stale"] > 0


FAULTS: tuple[Fault, ...] = (
    Fault(connect_refused, cannot_connect),
    Fault(connect_hanging, bodies_fail),
    Fault(cut_by_fin, bodies_fail),
    Fault(cut_by_rst, bodies_fail),
    Fault(cut_by_fin_while_idle, idle_die),
    Fault(cut_by_rst_while_idle, idle_die),
    Fault(black_hole, bodies_fail),
    Fault(delay, bodies_fail),
    Fault(stopped, bodies_fail),
    Fault(killed, cannot_connect),
    Fault(failed_over, bodies_fail),
    Fault(limit_reached, bodies_fail),
    Fault(tls_handshake_failing, cannot_connect, tls=True),
    Fault(dns_failing, cannot_connect, by_name=True),
)
