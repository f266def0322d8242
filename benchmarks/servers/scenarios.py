"""What is done to the pools of one driver, in turns: by names of pools, on a server of their own."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count, cycle, islice
from math import ceil
from random import Random
from time import perf_counter

from .backends import Backend
from .contestants import Builder, Builders, Contestant, fill
from .results import PATIENCE, Cancelled, Effort, Load, Recovery

SIZE = 10
WORKERS = 100
FICKLE = {SIZE: 0.2, WORKERS: 0.8}
"""Tasks whose requests are cancelled, and their share of them: all have a connection, or most wait for one."""

PAUSE = 0.05
"""Seconds that a worker leaves alone a pool that has refused it."""

BEFORE, DOWN = 0.2, 0.3
"""Seconds of work before a server is killed, and until it is started again."""

HUNG, CLOSING = 5.0, 2.0
"""Seconds in which a cancelled request has to end, and a pool that nobody uses any more."""


class Asker:
    """Asks a pool for the replies to tokens of its own, and keeps count."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.tokens = count(1)
        self.refused = self.wrong = 0

    async def ask(self) -> bool:
        """Whether the reply is there and right; a pool that raises is left alone for a while."""
        token = next(self.tokens)
        try:
            reply = await self.contestant.ask(token)
        except Exception:
            self.refused += 1
            await asyncio.sleep(PAUSE)
            return False
        self.wrong += reply != token
        return reply == token


async def load(pools: Builders, backend: Backend, effort: Effort) -> dict[str, dict[str, list[Load]]]:
    """Crowds that ask again at once."""
    return {f"{tasks}/{size}": await _in_turns(pools, backend, effort, tasks, size) for tasks, size in effort.loads}


async def observed(pools: Builders, backend: Backend, effort: Effort) -> dict[str, list[Load]]:
    """A crowd, by who listens."""
    return await _in_turns(pools, backend, effort, WORKERS, SIZE)


async def _in_turns(pools: Builders, backend: Backend, effort: Effort, tasks: int, size: int) -> dict[str, list[Load]]:
    turns: dict[str, list[Load]] = {name: [] for name in pools}
    for number in range(effort.turns):
        for name, build in _rotated(pools, number):
            turns[name].append(await _turn(build, backend, tasks, size, effort.seconds))
    return turns


def _rotated(pools: Builders, number: int) -> Iterator[tuple[str, Builder]]:
    """Another one begins in each round."""
    begin = number % len(pools)
    return islice(cycle(pools.items()), begin, begin + len(pools))


async def _turn(build: Builder, backend: Backend, tasks: int, size: int, seconds: float) -> Load:
    """One pool, from the first connection to the last."""
    opened = await backend.opened()
    async with _ready(build, backend, size) as contestant:
        figures = await _crowd(contestant, tasks, seconds)
    await backend.left(0)
    figures["opened"] = await backend.opened() - opened
    return figures


@asynccontextmanager
async def _ready(build: Builder, backend: Backend, size: int) -> AsyncIterator[Contestant]:
    """A pool with its connections made."""
    gc.collect()  # what the others left is not this one's to collect
    contestant = build(backend.url, size)
    await contestant.open()
    await fill(contestant, size)
    yield contestant
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSING):
            await contestant.close()


async def _crowd(contestant: Contestant, tasks: int, seconds: float) -> Load:
    asker = Asker(contestant)
    replies = [0] * tasks
    latencies: list[float] = []
    begin = perf_counter()
    end = begin + seconds

    async def work(number: int) -> None:
        while True:  # once at least: a short turn may be over before anybody has begun
            asked = perf_counter()
            if await asker.ask():
                latencies.append(perf_counter() - asked)
                replies[number] += 1
            if perf_counter() >= end:
                return

    await asyncio.gather(*(work(number) for number in range(tasks)))
    took = perf_counter() - begin
    latencies.sort()
    p50, p99, p999 = (latencies[ceil(share * len(latencies)) - 1] for share in (0.5, 0.99, 0.999))
    return Load(
        rate=len(latencies) / took,
        p50=p50,
        p99=p99,
        p999=p999,
        fewest=min(replies),
        most=max(replies),
        starved=replies.count(0),
        refused=asker.refused,
        wrong=asker.wrong,
        opened=0,
    )


async def recovery(pools: Builders, backend: Backend, effort: Effort) -> dict[str, list[Recovery]]:
    """Kills, and what it takes to be back."""
    kills: dict[str, list[Recovery]] = {name: [] for name in pools}
    for number in range(effort.kills):
        for name, build in _rotated(pools, number):
            async with _ready(build, backend, SIZE) as contestant:
                kills[name].append(await _killed(contestant, backend))
    return kills


async def _killed(contestant: Contestant, backend: Backend) -> Recovery:
    asker = Asker(contestant)
    back_at: float | None = None
    replied_at: dict[int, float] = {}  # when each worker had its first reply since

    async def work(number: int) -> None:
        while number not in replied_at:
            if await asker.ask() and back_at is not None:
                replied_at[number] = perf_counter() - back_at

    workers = [asyncio.create_task(work(number)) for number in range(WORKERS)]
    await asyncio.sleep(BEFORE)
    backend.server.kill()
    asker.refused = 0
    await asyncio.sleep(DOWN)
    await backend.server.start()
    back_at = perf_counter()
    _, late = await asyncio.wait(workers, timeout=PATIENCE)
    for worker in late:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    times = replied_at.values()
    return Recovery(
        first=min(times, default=None),
        everybody=None if late else max(times),
        refused=asker.refused,
        wrong=asker.wrong,
    )


async def cancelled(pools: Builders, backend: Backend, effort: Effort) -> dict[str, Cancelled]:
    """Requests given up at random moments of their lives, and what the pool is worth afterwards."""
    return {name: await _cancelled(build, backend, effort) for name, build in pools.items()}


async def _cancelled(build: Builder, backend: Backend, effort: Effort) -> Cancelled:
    figures = Cancelled(cancelled=0, seconds=0.0, hung=0, refused=0, wrong=0, usable=0, size=SIZE, opened=0, left=0)
    opened, connected = await backend.opened(), await backend.connected()
    async with _ready(build, backend, SIZE) as contestant:
        usual = [await _usual(contestant, tasks, effort.seconds) for tasks in FICKLE]
        begin = perf_counter()
        for (tasks, share), seconds in zip(FICKLE.items(), usual, strict=True):
            until = perf_counter() + effort.cancelling / len(FICKLE)
            await _give_up(contestant, tasks, 2 * seconds, int(share * effort.cancels), until, figures)
        figures["seconds"] = perf_counter() - begin
        figures["usable"] = await _usable(contestant, effort.patience)
        if figures["usable"]:
            figures["wrong"] += (await _crowd(contestant, SIZE, effort.seconds))["wrong"]
    figures["left"] = await backend.left(connected)
    figures["opened"] = await backend.opened() - opened
    return figures


async def _usual(contestant: Contestant, tasks: int, seconds: float) -> float:
    """Seconds of a request among so many tasks."""
    await _crowd(contestant, tasks, seconds)  # warms up
    return tasks / (await _crowd(contestant, tasks, seconds))["rate"]


async def _give_up(
    contestant: Contestant, tasks: int, longest: float, times: int, until: float, figures: Cancelled
) -> None:
    """Cancel so many requests more, each within as many seconds of its beginning."""
    random, tokens = Random(6), count(1)
    enough = _ended(figures) + times

    async def work() -> None:
        while _ended(figures) < enough and perf_counter() < until:
            token = next(tokens)
            request = asyncio.create_task(contestant.ask(token))
            await asyncio.sleep(random.uniform(0, longest))
            request.cancel()
            await asyncio.wait([request], timeout=HUNG)
            if not request.done():
                figures["hung"] += 1
            elif request.cancelled():
                figures["cancelled"] += 1
            elif request.exception() is not None:
                figures["refused"] += 1
            else:
                figures["wrong"] += request.result() != token

    await asyncio.gather(*(work() for _ in range(tasks)))


def _ended(figures: Cancelled) -> int:
    """Requests that brought no reply."""
    return figures["cancelled"] + figures["refused"] + figures["hung"]


async def _usable(contestant: Contestant, patience: float) -> int:
    """How many connections can be had at once, and answer."""
    held, enough = 0, asyncio.Event()

    async def hold(token: int) -> None:
        nonlocal held
        async with contestant.lease() as conn:
            answers = await contestant.query(conn, token) == token
            held += answers
            if held == SIZE:
                enough.set()
            await enough.wait()

    holders = [asyncio.create_task(hold(token)) for token in range(SIZE)]
    await asyncio.wait(holders, timeout=patience)
    had = held
    enough.set()
    _, stuck = await asyncio.wait(holders, timeout=patience)
    for holder in stuck:
        holder.cancel()
    await asyncio.gather(*holders, return_exceptions=True)
    return had
