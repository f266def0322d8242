"""Where the story is set: the pool, the server behind it, and the requests that use them."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

from opentelemetry.trace import Span, SpanKind, Tracer
from redis.asyncio import Redis

from .. import ConnectionPool, PoolStats, PoolTimeoutError
from .._events import Event
from .._servers import Proxy, Valkey
from ..strategies.redis import RedisConnectionStrategy
from ._recorder import Recorder

MAX_SIZE = 8
BURST_LIMIT = 12


class WrongReply(Exception):
    """A request read what another had written. It must never come to this."""


class TracedRedis(RedisConnectionStrategy):
    """With the span that a driver's own instrumentation would make of the connect: the child of `pool.create`."""

    def __init__(self, tracer: Tracer, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tracer = tracer

    async def create_connection(self) -> Redis:
        with self._tracer.start_as_current_span("redis.connect", kind=SpanKind.CLIENT, record_exception=False):
            return await super().create_connection()


@dataclass(frozen=True)
class Claim:
    """Something an act says of itself.

    Attributes:
        text: the claim, with the numbers that were measured.
        holds: whether they bear it out.
    """

    text: str
    holds: bool


@dataclass
class Stage:
    """What an act has to work with.

    Attributes:
        pool, recorder, tracer: the pool, every event of it, and where spans come from.
        proxy: in front of the server.
        server: the embedded server, or None where it is somebody's own.
        pace: what the durations of the story are multiplied by; 1 takes about 25 seconds.
        tell: takes a line for the audience.
        timeout: the last error of a caller that gave up, for the report.
        prefix: of all keys, which expire after a minute.
        numbers: of the requests.
    """

    pool: ConnectionPool[Redis]
    recorder: Recorder
    tracer: Tracer
    proxy: Proxy
    server: Valkey | None
    pace: float
    tell: Callable[[str], None]
    timeout: PoolTimeoutError | None = None
    prefix: str = field(default_factory=lambda: f"instrumented-pool:demo:{uuid4().hex[:8]}")
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def sleep(self, seconds: float) -> None:
        """Sleep at the story's pace."""
        await asyncio.sleep(seconds * self.pace)

    async def until(self, condition: Callable[[PoolStats], bool], *, within: float = 5.0) -> bool:
        """Wait for the pool to get there, for at most so many real seconds; say whether it did."""
        deadline = time.monotonic() + within
        while not condition(self.pool.stats()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def mark(self) -> "Mark":
        """Remember this moment."""
        return Mark(self, self.pool.stats(), len(self.recorder.events), time.monotonic())

    def traffic(
        self, callers: int, *, pause: float = 0.0, arriving: float = 0.0, timeout: float | None = 10.0
    ) -> "Traffic":
        """Requests of so many callers, who arrive within `arriving` seconds and pause between two of their own."""
        return Traffic(self, callers, pause, arriving, timeout)

    def request(self, name: str) -> AbstractContextManager[Span]:
        """The span of a request, as a web framework's instrumentation makes it."""
        return self.tracer.start_as_current_span(name, kind=SpanKind.SERVER, record_exception=False)

    def command(self, name: str) -> AbstractContextManager[Span]:
        """The span of a command, as a driver's instrumentation makes it."""
        return self.tracer.start_as_current_span(name, kind=SpanKind.CLIENT, record_exception=False)

    async def show_order(self, number: int, timeout: float | None) -> None:
        """A request handler as anybody would write it: two commands on a connection of the pool's.

        Raises:
            PoolTimeoutError: no connection came free within `timeout` seconds.
            redis.RedisError: the server failed it.
            WrongReply: the reply was not this request's own.
        """
        with self.request("GET /orders/{id}"):
            async with self.pool.get_connection(timeout=timeout) as redis:
                key, token = f"{self.prefix}:{number}", f"order {number}"
                with self.command("SET"):
                    await redis.set(key, token, ex=60)
                with self.command("GET"):
                    reply = await redis.get(key)
            if reply != token.encode():
                raise WrongReply(f"asked for {token!r}, was told {reply!r}")


@dataclass
class Mark:
    """A moment to compare with: what has happened since."""

    stage: Stage
    stats: PoolStats
    position: int
    at: float

    @property
    def events(self) -> list[Event]:
        return self.stage.recorder.events[self.position :]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.at


@dataclass(frozen=True)
class Outcome:
    """How one request went; times on the monotonic clock."""

    began: float
    ended: float
    error: Exception | None


class Traffic:
    """Callers that make one request after the other while the block lasts, and finish their last one at its end."""

    def __init__(self, stage: Stage, callers: int, pause: float, arriving: float, timeout: float | None) -> None:
        self.outcomes: list[Outcome] = []
        self._stage, self._pause, self._timeout = stage, pause, timeout
        self._arrivals = [arriving * number / callers for number in range(callers)]
        self._open = True
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._caller(after)) for after in self._arrivals]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._open = False
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)

    @property
    def served(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.error is None]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.error is not None]

    @property
    def errors(self) -> list[Exception]:
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]

    async def _caller(self, arrival: float) -> None:
        await asyncio.sleep(arrival)
        while self._open:
            await self._request(next(self._stage.numbers))
            await asyncio.sleep(self._pause)

    async def _request(self, number: int) -> None:
        began, error = time.monotonic(), None
        try:
            request = self._stage.show_order(number, self._timeout)
            await asyncio.create_task(request, name=f"GET /orders/{number}")  # as a web server would
        except Exception as failure:
            error = failure
            await asyncio.sleep(0.02)  # as a client would, before it asks again
        self.outcomes.append(Outcome(began, time.monotonic(), error))


@contextlib.asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that live no longer than the block; where it goes well but one of them failed, that is raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result
