"""What is measured of the pools, by names of contestants; all of it on one event loop."""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from statistics import fmean, quantiles
from time import perf_counter, process_time

from .contestants import CONTESTANTS, POOLS, Contestant, Lease
from .results import Fairness, Memory, Timing
from .timing import Effort, in_turns

SIZE = 10
WORKERS, HOLD = 100, 0.005
HANDOFFS, STRETCHES = 25, 3
PATIENCE = 1_000
"""Times that a waiting task is overtaken before nobody looks on any longer."""


async def idle(effort: Effort) -> dict[str, Timing]:
    """Seconds of one acquire and release with a connection idle and nobody else about."""
    contestants = [await _filled(cls, SIZE) for cls in CONTESTANTS]
    timings = await in_turns(
        {each.name: partial(alone, each.lease) for each in contestants}, effort.rounds, effort.turn
    )
    await _close(contestants)
    return timings


async def alone(lease: Callable[[], Lease], times: int) -> float:
    """Acquire and release, one after the other."""
    begin = perf_counter()
    for _ in range(times):
        async with lease():
            pass
    return (perf_counter() - begin) / times


async def contended(tasks: int, effort: Effort) -> dict[str, Timing]:
    """Seconds of one acquire and release while many tasks want the connections, each held across a step of the loop."""
    contestants = [await _filled(cls, SIZE) for cls in POOLS]
    turns = {each.name: partial(_crowd, each, tasks, effort.acquires) for each in contestants}
    timings = await in_turns(turns, effort.crowds[tasks])
    await _close(contestants)
    return timings


async def _crowd(contestant: Contestant, tasks: int, acquires: int, _: int) -> float:
    lease = contestant.lease

    async def work() -> None:
        for _ in range(acquires):
            async with lease():
                await asyncio.sleep(0)

    begin = perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return (perf_counter() - begin) / (tasks * acquires)


async def handed_on(queued: int, effort: Effort) -> dict[str, Timing]:
    """Seconds from one release to the next, while so many callers queue for one connection and pass it on at once.

    Raises:
        ValueError: they are too few to be timed.
    """
    if queued < STRETCHES * HANDOFFS:
        raise ValueError(f"queued must be at least {STRETCHES * HANDOFFS}, got {queued}")
    return await in_turns({cls.name: partial(_hand_on, cls, queued) for cls in POOLS}, effort.fills)


async def _hand_on(cls: type[Contestant], queued: int, _: int) -> float:
    contestant, loop = await _filled(cls, 1), asyncio.get_running_loop()
    lease = contestant.lease
    left, halt, go = 1, loop.create_future(), loop.create_future()

    async def caller() -> None:
        nonlocal left
        async with lease():
            left -= 1
            if left == 0:
                halt.set_result(None)
                await go

    callers = [asyncio.create_task(caller()) for _ in range(queued + 1)]
    await _quiet()
    took: list[float] = []
    for _ in range(STRETCHES):
        left, halt, held, go = HANDOFFS, loop.create_future(), go, loop.create_future()
        begin = perf_counter()
        held.set_result(None)
        await halt
        took.append((perf_counter() - begin) / HANDOFFS)
    go.set_result(None)
    await asyncio.gather(*callers)
    await contestant.close()
    return min(took)


async def fairness(effort: Effort) -> dict[str, Fairness]:
    """See who is served, and when."""
    return {cls.name: await _fairness(cls, effort.seconds) for cls in POOLS}


async def _fairness(cls: type[Contestant], seconds: float) -> Fairness:
    contestant = await _filled(cls, SIZE)
    lease = contestant.lease
    acquires = [0] * WORKERS
    waits: list[float] = []
    holds: list[float] = []
    end = perf_counter() + seconds

    async def work(number: int) -> None:
        while (asked := perf_counter()) < end:
            async with lease():
                served = perf_counter()
                await asyncio.sleep(HOLD)
                holds.append(perf_counter() - served)
            acquires[number] += 1
            waits.append(served - asked)

    await asyncio.gather(*(work(number) for number in range(WORKERS)))
    await contestant.close()
    ideal = (WORKERS / SIZE - 1) * fmean(holds)
    p99 = quantiles(waits, n=100)[98]
    return Fairness(fewest=min(acquires), most=max(acquires), ideal=ideal, p99=p99, overtaken=await _overtaken(cls))


async def _overtaken(cls: type[Contestant]) -> int:
    contestant = await _filled(cls, 1)
    lease, held = contestant.lease, asyncio.Event()
    waiting, overtaken = True, 0

    async def grab() -> None:
        nonlocal overtaken
        while waiting and overtaken < PATIENCE:
            async with lease():
                overtaken += held.is_set() and waiting
                held.set()
                await asyncio.sleep(0)

    async def ask() -> None:
        nonlocal waiting
        await held.wait()
        async with lease():
            waiting = False

    await asyncio.gather(grab(), ask())
    await contestant.close()
    return overtaken


async def memory(effort: Effort) -> dict[str, Memory]:
    """Weigh callers and connections, with every allocation traced."""
    count = effort.population
    tracemalloc.start()
    task = await _least(_weigh_task, count)
    weights: dict[str, Memory] = {}
    for cls in POOLS:
        queued = await _least(partial(_weigh_caller, cls), count)
        lent = await _least(partial(_weigh_pool, cls), count) - await _least(partial(_weigh_connection, cls), count)
        weights[cls.name] = Memory(queued=queued - task, idle=lent)
    tracemalloc.stop()
    return weights


async def _least(weigh: Callable[[int], Awaitable[float]], count: int) -> float:
    """The lesser of two weights: at first, the interpreter and the loop also fill stores of their own."""
    return min(await weigh(count), await weigh(count))


async def _weigh_task(count: int) -> float:
    """Bytes of a task that waits for nothing of its own."""
    before, future = await _traced(), asyncio.get_running_loop().create_future()

    async def wait() -> None:
        await future

    tasks = [asyncio.create_task(wait()) for _ in range(count)]
    weight = (await _traced() - before) / count
    future.set_result(None)
    await asyncio.gather(*tasks)
    return weight


async def _weigh_caller(cls: type[Contestant], count: int) -> float:
    """Bytes of a task that waits for a connection."""
    contestant = await _filled(cls, 1)
    async with contestant.lease():
        before = await _traced()
        tasks = [asyncio.create_task(_borrow(contestant.lease)) for _ in range(count)]
        weight = (await _traced() - before) / count
    await asyncio.gather(*tasks)
    await contestant.close()
    return weight


async def _weigh_pool(cls: type[Contestant], count: int) -> float:
    """Bytes of a pool by each of its idle connections, and they with it."""
    before = await _traced()
    contestant = await _filled(cls, count)
    weight = (await _traced() - before) / count
    await contestant.close()
    return weight


async def _weigh_connection(cls: type[Contestant], count: int) -> float:
    """Bytes of a connection in no pool."""
    connections: list[object] = [None] * count
    before = await _traced()
    for number in range(count):
        connections[number] = cls.lends()
    return (await _traced() - before) / count


async def _traced() -> int:
    """Bytes that are in use, when all that can be has been given up."""
    await _quiet()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def check_rules() -> None:
    """See that all play the same game: so many connections as they may have, made once, each lent to one at a time.

    Raises:
        RuntimeError: one does not.
    """
    for cls in POOLS:
        contestant = await _filled(cls, 2)
        lease = contestant.lease
        async with AsyncExitStack() as held:
            lent = [await held.enter_async_context(lease()) for _ in range(2)]
            third = asyncio.create_task(_borrow(lease))
            await _quiet()
            if third.done() or lent[0] is lent[1]:
                raise RuntimeError(f"{cls.name} lends two connections to three callers at once")
        if await third not in lent:
            raise RuntimeError(f"{cls.name} makes a connection while others are idle")
        await contestant.close()


async def _borrow(lease: Callable[[], Lease]) -> object:
    async with lease() as conn:
        return conn


async def _filled(cls: type[Contestant], size: int) -> Contestant:
    """A contestant whose connections are all made."""
    contestant = cls(size)
    async with AsyncExitStack() as held:
        for _ in range(size):
            await held.enter_async_context(contestant.lease())
    return contestant


async def _close(contestants: Iterable[Contestant]) -> None:
    for contestant in contestants:
        await contestant.close()


async def _quiet() -> None:
    """Let the loop turn until it has nothing to do: a sleep that takes hardly any of the processor's time."""
    while True:
        begin = process_time()
        await asyncio.sleep(0.01)
        if process_time() - begin < 0.002:
            return
