"""What the core costs, as ratios in one run: `make bench`.

Every figure is the best of several rounds, with the contestants taking turns within each round, so that a busy machine
slows all of them alike. Nothing is pooled but plain objects: what is measured is the pool and nothing else.
"""

import argparse
import asyncio
import platform
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncio_connection_pool as ancestor

from instrumented_pool import ConnectionPool, ConnectionStrategy

Contest = dict[str, Callable[[], Awaitable[float]]]

SIZE, TASKS = 10, 1_000


class Floor:
    """The least that an asynchronous context manager over a deque can do."""

    def __init__(self) -> None:
        self.idle: deque[object] = deque([object()])

    def get_connection(self) -> "FloorLease":
        return FloorLease(self)


class FloorLease:
    __slots__ = ("conn", "pool")

    def __init__(self, pool: Floor) -> None:
        self.pool = pool

    async def __aenter__(self) -> object:
        self.conn = self.pool.idle.pop()
        return self.conn

    async def __aexit__(self, *exc: object) -> None:
        self.pool.idle.append(self.conn)


class SemaphorePool:
    """What people write when they want no pool."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(SIZE)
        self.idle: deque[object] = deque(object() for _ in range(SIZE))

    def get_connection(self) -> "SemaphoreLease":
        return SemaphoreLease(self)


class SemaphoreLease:
    __slots__ = ("conn", "pool")

    def __init__(self, pool: SemaphorePool) -> None:
        self.pool = pool

    async def __aenter__(self) -> object:
        await self.pool.free.acquire()
        self.conn = self.pool.idle.pop()
        return self.conn

    async def __aexit__(self, *exc: object) -> None:
        self.pool.idle.append(self.conn)
        self.pool.free.release()


class Strategy(ConnectionStrategy[object]):
    async def create_connection(self) -> object:
        return object()

    def connection_is_closed(self, conn: object) -> bool:
        return False

    def close_connection(self, conn: object) -> None:
        return None


class AncestorStrategy(ancestor.ConnectionStrategy[object]):
    async def make_connection(self) -> object:
        return object()

    def connection_is_closed(self, conn: object) -> bool:
        return False

    async def close_connection(self, conn: object) -> None:
        return None


def ours() -> ConnectionPool[object]:
    return ConnectionPool(strategy=Strategy(), max_size=SIZE)


def theirs() -> Any:
    return ancestor.ConnectionPool(strategy=AncestorStrategy(), max_size=SIZE)


async def idle(pool: Any, times: int) -> float:
    """Seconds of one acquire and release with a connection idle."""
    async with pool.get_connection():
        pass
    begin = time.perf_counter()
    for _ in range(times):
        async with pool.get_connection():
            pass
    return (time.perf_counter() - begin) / times


async def contended(acquire: Callable[[], AbstractAsyncContextManager[object]], times: int) -> float:
    """Seconds of one acquire and release while 1,000 tasks want 10 connections, each held across a step of the loop."""

    async def work() -> None:
        for _ in range(times):
            async with acquire():
                await asyncio.sleep(0)

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(TASKS)))
    return (time.perf_counter() - begin) / (times * TASKS)


async def queued(waiting: int, releases: int = 50) -> float:
    """Seconds of one release, and of the loop until the next in the queue runs, with `waiting` callers queued."""
    pool = ConnectionPool(strategy=Strategy(), max_size=1)
    served: deque[asyncio.Event] = deque()

    async def caller() -> None:
        async with pool.get_connection(timeout=None):
            go = asyncio.Event()
            served.append(go)
            await go.wait()

    tasks = [asyncio.create_task(caller()) for _ in range(waiting + 1)]
    while not served or pool.stats().waiting < waiting:  # noqa: ASYNC110  what is measured is the loop's own steps
        await asyncio.sleep(0)
    begin = time.perf_counter()
    for _ in range(releases):
        served.popleft().set()
        while not served:  # noqa: ASYNC110
            await asyncio.sleep(0)
    took = (time.perf_counter() - begin) / releases
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await pool.close()
    return took


async def best_of(contest: Contest, rounds: int) -> dict[str, float]:
    """Seconds of each contestant: the best of `rounds`, all of them in turn in every round."""
    best = dict.fromkeys(contest, float("inf"))
    for _ in range(rounds):
        for name, run in contest.items():
            best[name] = min(best[name], await run())
    return best


def show(title: str, best: dict[str, float], against: dict[str, float | None]) -> None:
    """Print microseconds, and the ratio of ours to each of `against` beside its budget where it has one."""
    print(f"\n{title}")
    mine = best["instrumented_pool"]
    for name, seconds in best.items():
        ratio = ""
        if name in against:
            budget = against[name]
            ratio = f"   ours is {mine / seconds:5.3f} of it"
            if budget is not None:
                ratio += f", budget {budget:.2f}: {'met' if mine / seconds <= budget else 'NOT met'}"
        print(f"  {name:28} {seconds * 1e6:8.3f} µs{ratio}")


async def run(rounds: int, times: int) -> None:
    print(f"{platform.python_implementation()} {platform.python_version()}, best of {rounds} rounds in turn")
    floor, mine, old = Floor(), ours(), theirs()
    best = await best_of(
        {
            "floor": lambda: idle(floor, times),
            "instrumented_pool": lambda: idle(mine, times),
            "asyncio-connection-pool 1.1.1": lambda: idle(old, times // 4),
        },
        rounds,
    )
    show(
        "acquire + release, a connection idle, no observer",
        best,
        {"floor": 1.8, "asyncio-connection-pool 1.1.1": 0.30},
    )
    await mine.close()

    each = max(1, times // 10_000)
    semaphore, mine, old = SemaphorePool(), ours(), theirs()
    best = await best_of(
        {
            "semaphore": lambda: contended(semaphore.get_connection, each),
            "instrumented_pool": lambda: contended(mine.get_connection, each),
            "asyncio-connection-pool 1.1.1": lambda: contended(old.get_connection, each),
        },
        rounds,
    )
    show(f"{TASKS:,} tasks on {SIZE} connections", best, {"semaphore": 1.2, "asyncio-connection-pool 1.1.1": None})
    await mine.close()

    best = await best_of({"100 queued": lambda: queued(100), "10,000 queued": lambda: queued(10_000)}, rounds)
    few, many = best.values()
    print("\none release and the next caller running")
    for name, seconds in best.items():
        print(f"  {name:28} {seconds * 1e6:8.3f} µs")
    verdict = "met" if many / few <= 1.3 else "NOT met"
    print(f"  10,000 against 100           {many / few:8.3f}, budget 1.30: {verdict}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds in turn; the best counts (default %(default)s)")
    parser.add_argument("--times", type=int, default=100_000, help="acquires of a round (default %(default)s)")
    options = parser.parse_args()
    asyncio.run(run(options.rounds, options.times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
