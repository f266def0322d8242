"""One fault, put to one strategy while its callers work, and the verdict."""

import asyncio
import contextlib
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import trustme

from instrumented_pool import ConnectionPool, PoolStats
from instrumented_pool._servers import HOST, Proxy, Server
from instrumented_pool.testing import RecordingObserver
from instrumented_pool.testing._recorder import unpaired

from .crowd import Crowd
from .faults import Fault
from .subjects import Subject

MAX_SIZE, BURST_LIMIT = 10, 20
CLOSE_TIMEOUT = 0.5


@dataclass
class Stage:
    """The servers of one subject: one that works, and one to fail over to."""

    subject: Subject
    servers: list[Server]

    @property
    def server(self) -> Server:
        """The one that works."""
        return self.servers[0]

    async def restore(self) -> None:
        """Start again what was killed."""
        for server in self.servers:
            if server.pid is None:
                await server.start()


@asynccontextmanager
async def stage_of(subject: Subject) -> AsyncIterator[Stage]:
    """Start the servers; they can be used for one trial after the other."""
    async with subject.server() as one, subject.server() as other:
        yield Stage(subject, [one, other])


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        subject, fault: of what.
        asked: how many times a caller wanted a connection.
        errors: how many of those ended in which clear error.
        whole: seconds from the end of the fault to the last such error, 0 if none came after it.
        stats: the pool's counts, before it was closed.
        wrong: what should not be, in words: empty if all is well.
    """

    subject: str
    fault: str
    asked: int
    errors: Counter[str]
    whole: float
    stats: PoolStats
    wrong: list[str]

    @property
    def failed(self) -> int:
        """How many times a caller went away with an error."""
        return self.errors.total()

    def __str__(self) -> str:
        told = ", ".join(f"{times} × {error}" for error, times in self.errors.most_common()) or "no errors"
        line = f"{self.subject:8} {self.fault:22} whole after {self.whole:5.2f} s, {self.asked:5} asked: {told}"
        return "".join([line, *(f"\n  WRONG: {each}" for each in self.wrong)])


class Certificates:
    """One that the strategy trusts, and one that nobody does."""

    def __init__(self, directory: Path) -> None:
        self._own, self._foreign = trustme.CA(), trustme.CA()
        self.authority = directory / "authority.pem"
        self._own.cert_pem.write_to_path(str(self.authority))
        self.shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.shown.set_alpn_protocols(["postgresql"])  # libpq insists on it
        self.show()

    def show(self, *, foreign: bool = False) -> None:
        """From now on, to new connections."""
        (self._foreign if foreign else self._own).issue_cert(HOST).configure_cert(self.shown)


class Scene:
    """The way to the server, the pool and its callers, for one trial."""

    def __init__(self, stage: Stage, fault: Fault, certificates: Certificates | None) -> None:
        self.subject = stage.subject
        self._certificates = certificates
        tls = None if certificates is None else certificates.shown
        self.proxy = Proxy(stage.server.host, stage.server.port, tls=tls)
        self._stage = stage
        self._fault = fault

    @property
    def server(self) -> Server:
        """The one that serves now."""
        return self._stage.server

    @property
    def certificates(self) -> Certificates:
        """What the server shows."""
        assert self._certificates is not None
        return self._certificates

    def fail_over(self) -> None:
        """The other one serves from now on."""
        self._stage.servers.reverse()
        self.proxy.target = self.server.host, self.server.port

    @asynccontextmanager
    async def another_client(self) -> AsyncIterator[None]:
        """Somebody else's connection to the server, which has been answered, however long that took."""
        strategy = self.subject.strategy(self.server.host, self.server.port, patience=30.0)
        conn = await strategy.create_connection()
        try:
            await self.subject.ask(conn, "another")
            yield
        finally:
            with contextlib.suppress(*self.subject.expected):
                await (strategy.close_connection(conn) or asyncio.sleep(0))

    def open(self, recorder: RecordingObserver, random: Random) -> None:
        """Make the pool, and have its callers come."""
        strategy = self.subject.strategy(
            "localhost" if self._fault.by_name else self.proxy.host,
            self.proxy.port,
            None if self._certificates is None else self._certificates.authority,
        )
        self.pool: ConnectionPool[Any] = ConnectionPool(
            strategy=strategy,
            max_size=MAX_SIZE,
            burst_limit=BURST_LIMIT,
            close_timeout=CLOSE_TIMEOUT,
            observers=[recorder],
        )
        self.crowd = Crowd(self.subject, self.pool, random)


async def trial(stage: Stage, fault: Fault, *, lasting: float = 0.4, seed: int = 0) -> Outcome:
    """Have the fault for so many seconds."""
    recorder, before = RecordingObserver(), asyncio.all_tasks()
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(stage, fault, Certificates(Path(directory)) if fault.tls else None)
        async with scene.proxy:
            scene.open(recorder, Random(seed))
            try:
                await asyncio.sleep(0.3)
                async with fault.play(scene):
                    await asyncio.sleep(lasting)
                outcome = await _outcome(scene, fault, asyncio.get_running_loop().time())
            finally:
                await scene.crowd.dismiss()
            outcome.wrong += [complaint async for complaint in _afterwards(scene)]
    outcome.wrong += unpaired(recorder.events)
    if (most := max(stats.total for stats in recorder.stats)) > BURST_LIMIT:
        outcome.wrong.append(f"{most} connections, and the hard limit is {BURST_LIMIT}")
    if not fault.bites(outcome):
        outcome.wrong.append(f"nobody has felt it: {outcome.errors}, {outcome.stats}")
    if left := asyncio.all_tasks() - before:
        outcome.wrong.append(f"{len(left)} tasks are left")
    await stage.restore()
    return outcome


async def _outcome(scene: Scene, fault: Fault, ended: float) -> Outcome:
    crowd, wrong = scene.crowd, list[str]()
    within = scene.subject.whole_within
    if not await _comes_true(lambda: min(crowd.served) > ended, within):
        late = sum(began < ended for began in crowd.served)
        wrong.append(f"{late} callers were not served within {within:g} s of the end of the fault")
    await crowd.go_home(scene.subject.at_rest_within)
    return Outcome(
        subject=scene.subject.name,
        fault=fault.title,
        asked=crowd.asked,
        errors=crowd.errors,
        whole=max(0.0, crowd.last_failure - ended),
        stats=scene.pool.stats(),
        wrong=wrong + [f"{what} ({times} times)" for what, times in crowd.wrong.items()],
    )


async def _afterwards(scene: Scene) -> AsyncIterator[str]:
    """Whatever is not so when all is over."""
    pool, proxy, within = scene.pool, scene.proxy, scene.subject.at_rest_within
    if not await _comes_true(lambda: pool.stats().total == pool.stats().idle, within):
        yield f"not at rest: {pool.stats()}"
    async for complaint in _each_answers(scene):
        yield complaint
    if pool.stats().total > MAX_SIZE:
        yield f"more connections than max_size: {pool.stats()}"
    if (there := await _connections(scene, pool.stats().total)) != pool.stats().total:
        yield f"{there} connections at the server, {pool.stats().total} in the pool"
    await pool.close()
    if there := await _connections(scene, 0):
        yield f"{there} connections at the server of a pool that is closed"
    if not await _comes_true(lambda: not proxy.links, within):
        yield f"{len(proxy.links)} connections to the proxy of a pool that is closed"


async def _each_answers(scene: Scene) -> AsyncIterator[str]:
    """Hold all the connections that the pool has, at once."""
    within = scene.subject.at_rest_within
    async with AsyncExitStack() as stack:
        for number in range(scene.pool.stats().idle):
            conn = await stack.enter_async_context(scene.pool.get_connection(timeout=within))
            try:
                async with asyncio.timeout(within):
                    if await scene.subject.ask(conn, f"whole-{number}") != f"whole-{number}":
                        yield "a connection of the pool at rest gives a wrong answer"
            except scene.subject.expected as error:
                yield f"a connection of the pool at rest does not answer: {type(error).__name__}"


async def _connections(scene: Scene, wanted: int) -> int:
    """How many the server has, which may need a moment to notice that one has gone."""
    until = asyncio.get_running_loop().time() + scene.subject.at_rest_within
    while (there := await scene.subject.connections(scene.server)) != wanted:
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(0.02)
    return there


async def _comes_true(condition: Callable[[], bool], within: float) -> bool:
    until = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.005)
    return True
