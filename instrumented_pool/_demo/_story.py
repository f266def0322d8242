"""The story, act by act. Each act ends with its claims, and what was measured decides whether they hold."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan
from redis.exceptions import RedisError

from .. import PoolStats, PoolTimeoutError
from .._events import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    BurstEnded,
    BurstStarted,
    Closed,
    Created,
    CreateFailed,
    LeakSuspected,
    Shrink,
)
from ..testing._recorder import unpaired
from ._recorder import of_kind, overtakings
from ._stage import BURST_LIMIT, MAX_SIZE, Claim, Stage, Traffic, in_background
from ._waterfall import misplaced

CALM, BUSY = 0.002, 0.025  # seconds by which the proxy holds every answer back
STALLED = 2.0  # seconds, at pace 1, that the server answers nothing
LEAK_AFTER = 3.0  # seconds, at pace 1; well longer than the stall, which is nobody's leak
PATIENCE = 1.0  # seconds, at pace 1, that callers wait while the checkouts keep their connections


@dataclass(frozen=True)
class Act:
    """One act.

    Attributes:
        title: two or three words.
        caption: what happens, and what to watch.
        play: plays it, and returns what it claims.
    """

    title: str
    caption: str
    play: Callable[[Stage], Awaitable[list[Claim]]]


async def calm(stage: Stage) -> list[Claim]:
    stage.proxy.delay = CALM
    async with stage.traffic(4, pause=0.04) as traffic:
        await stage.until(lambda stats: stats.total >= 4 and not stats.creating)
        mark = stage.mark()
        await stage.sleep(4.0)
    acquired, stats = of_kind(Acquired, mark.events), stage.pool.stats()
    idle = sum(event.source == "idle" for event in acquired)
    return [
        _served(traffic),
        Claim(
            f"{idle:,} of {len(acquired):,} acquires found a connection idle and waited for nothing",
            0 < idle == len(acquired),
        ),
        Claim(f"{stats.total} connections were enough; max_size={MAX_SIZE} was not touched", stats.total < MAX_SIZE),
    ]


async def surge(stage: Stage) -> list[Claim]:
    mark = stage.mark()
    stage.proxy.delay = BUSY
    async with stage.traffic(4, pause=0.04) as regulars:
        async with stage.traffic(40) as crowd:
            await stage.sleep(3.2)
            stage.tell("the crowd leaves: what it needed beyond max_size is closed as it comes back")
        stage.proxy.delay = CALM
        await stage.until(_no_longer_bursting)
        await stage.sleep(1.7)
    longest = max((event.waiting for event in of_kind(AcquireQueued, mark.events)), default=0)
    bursts, ended = of_kind(BurstStarted, mark.events), of_kind(BurstEnded, mark.events)
    peak, given_up = max((event.peak for event in ended), default=0), len(of_kind(Shrink, mark.events))
    total = stage.pool.stats().total
    return [
        _served(crowd, regulars),
        Claim(
            f"{longest} callers queued at the worst, and the pool grew to {peak}: burst_limit, and not one beyond",
            longest > 0 and peak == max(stage.recorder.totals) == BURST_LIMIT,
        ),
        Claim(
            f"nobody waited any more, so {given_up} were closed again: {peak} → {total}, and the burst was over",
            given_up >= BURST_LIMIT - MAX_SIZE and total == MAX_SIZE and 0 < len(bursts) == len(ended),
        ),
    ]


async def stall(stage: Stage) -> list[Claim]:
    mark = stage.mark()
    async with stage.traffic(4, pause=0.04) as regulars:
        await stage.sleep(0.6)
        stage.proxy.stall()
        stage.tell("the server takes connections and commands, and answers nothing")
        async with stage.traffic(26, arriving=STALLED / 2 * stage.pace) as crowd:
            await stage.sleep(STALLED)
            frozen, last = stage.pool.stats(), of_kind(AcquireQueued, mark.events)[-1].acquire_id
            stage.proxy.delay = BUSY
            stage.proxy.resume()
            back = time.monotonic()
            stage.tell("the server answers again")
            await stage.until(lambda _: any(event.acquire_id == last for event in of_kind(Acquired, mark.events)))
            drained = time.monotonic() - back
            await stage.sleep(1.2)
    stage.proxy.delay = CALM
    await stage.until(_no_longer_bursting)
    queued, overtaken = overtakings(mark.events)
    return [
        _served(regulars, crowd),
        Claim(
            f"for {STALLED * stage.pace:.1f} s nothing moved: {frozen.in_use} connections in use, {frozen.creating} "
            f"being made, {frozen.waiting} callers waiting",
            frozen.total == BURST_LIMIT and frozen.waiting >= 30 - BURST_LIMIT,
        ),
        Claim(f"{drained * 1000:.0f} ms after it came back, the last of them was served", drained < 5),
        Claim(f"first come, first served: {queued:,} queued, {overtaken} were overtaken", queued > 0 and not overtaken),
    ]


async def checkout(stage: Stage, provider: asyncio.Event) -> None:
    """The bug of this act: it keeps its connection while it asks somebody else, who does not answer."""
    with stage.request("POST /checkout"):
        async with stage.pool.get_connection() as redis:
            await redis.set(f"{stage.prefix}:checkout", "paid?", ex=60)
            await charge_card(provider)


async def charge_card(provider: asyncio.Event) -> None:
    """Asks the payment provider."""
    await provider.wait()


async def forget(stage: Stage) -> list[Claim]:
    mark, provider = stage.mark(), asyncio.Event()
    async with stage.traffic(6, pause=0.04, timeout=PATIENCE * stage.pace) as traffic, in_background() as checkouts:
        for number in range(1, BURST_LIMIT + 1):
            checkouts.append(asyncio.create_task(checkout(stage, provider), name=f"POST /checkout {number}"))
            await stage.sleep(0.08)
        stage.tell(f"{BURST_LIMIT} checkouts wait for the payment provider, each with a connection in its hand")
        await stage.sleep(LEAK_AFTER + 0.8)
        errors = [error for error in traffic.errors if isinstance(error, PoolTimeoutError)]
        solved = stage.mark()
        provider.set()
        stage.tell("the error named them: the provider is woken, the checkouts give back what they held")
        await asyncio.gather(*checkouts)
        await stage.sleep(1.5)
    await stage.until(_no_longer_bursting)
    stage.timeout = errors[-1] if errors else None
    holders = errors[-1].holders if errors else ()
    guilty = [h for h in holders if h.task.startswith("POST /checkout") and "charge_card" in "".join(h.where)]
    suspected = {event.acquire_id for event in of_kind(LeakSuspected, mark.events)}
    after = [outcome for outcome in traffic.outcomes if outcome.began > solved.at]
    return [
        Claim(
            f"{len(errors)} callers gave up, each after {PATIENCE * stage.pace:.2g} s, and were told why", bool(errors)
        ),
        Claim(
            f"the error names {len(guilty)} of {BURST_LIMIT} holders: tasks POST /checkout, now in charge_card",
            len(guilty) == len(holders) == BURST_LIMIT,
        ),
        Claim(
            f"leak_after={LEAK_AFTER * stage.pace:.2g}: {len(suspected)} holds were reported before anybody looked",
            len(suspected) == len(of_kind(LeakSuspected, mark.events)) == BURST_LIMIT,
        ),
        Claim(
            f"then {len(after):,} requests were made, and {sum(o.error is not None for o in after)} failed",
            bool(after) and all(outcome.error is None for outcome in after),
        ),
    ]


async def kill(stage: Stage) -> list[Claim]:
    mark = stage.mark()
    async with stage.traffic(6, pause=0.02) as traffic:
        await stage.sleep(1.2)
        down = time.monotonic()
        await _take_away(stage)
        await stage.sleep(1.4)
        await _bring_back(stage)
        back = time.monotonic()
        stage.tell("it is back")
        await stage.sleep(2.2)
    errors = [error for error in traffic.errors if isinstance(error, RedisError)]
    stale = sum(event.reason == "stale" for event in of_kind(Closed, mark.events))
    refused = len(of_kind(CreateFailed, mark.events))
    after = [outcome for outcome in traffic.outcomes if outcome.began > back]
    well = sum(outcome.error is None for outcome in after)
    first = min((outcome.ended - back for outcome in traffic.served if outcome.ended > back), default=float("inf"))
    return [
        Claim(
            f"{len(errors)} requests failed while it was away ({back - down:.1f} s), each with the driver's own error",
            0 < len(errors) == len(traffic.failed),
        ),
        Claim(
            f"{stale} dead connections were found by the check and dropped; {refused} connects were refused",
            stale > 0 and refused > 0,
        ),
        Claim(
            f"first request served {first * 1000:.0f} ms after it was back, then {well:,} of {len(after):,}: none met "
            "a dead connection",
            0 < well == len(after),
        ),
    ]


async def _take_away(stage: Stage) -> None:
    if stage.server is not None:
        stage.server.kill()
        stage.tell("SIGKILL: the server is gone, and says good-bye to nobody")
    else:
        stage.proxy.refuse()
        await stage.proxy.cut(reset=True)
        stage.tell("your server is left alone: the network to it is cut instead (RST), and refuses connections")


async def _bring_back(stage: Stage) -> None:
    if stage.server is not None:
        await stage.server.start()
    else:
        await stage.proxy.accept()


def reckoning(stage: Stage, spans: Iterable[ReadableSpan]) -> list[Claim]:
    """What must be true of the whole run, once the pool is closed."""
    stats, recorded = stage.pool.stats(), stage.recorder.events
    wrong, closed = unpaired(recorded), sum(stats.closed.values())
    counts, misled = misplaced(spans)
    kinds = ("pool.acquire", "pool.wait", "pool.create", "redis.connect")
    counted = len(of_kind(Acquired, recorded)), len(of_kind(AcquireFailed, recorded)), len(of_kind(Created, recorded))
    return [
        Claim(f"{stats.created} connections created, {closed} closed, {stats.total} left", stats.created == closed),
        Claim(f"{len(recorded):,} events: every start has exactly one end, with {len(wrong)} exceptions", not wrong),
        Claim(
            f"{counted[0]:,} acquires served and {counted[1]:,} not, by the events as by stats()",
            counted == (sum(stats.acquired.values()), sum(stats.failed.values()), stats.created),
        ),
        Claim(
            f"spans: {', '.join(f'{counts[kind]:,} {kind}' for kind in kinds)}; {misled} outside of their parent",
            all(counts[kind] for kind in kinds) and not misled,
        ),
    ]


ACTS = (
    Act(
        "Calm",
        "Four callers, one request after the other. Nobody waits: entering get_connection() takes what lies idle.",
        calm,
    ),
    Act(
        "A surge",
        f"Forty callers at once. The pool grows past max_size={MAX_SIZE} to burst_limit={BURST_LIMIT}, the rest queue, "
        "and then it shrinks back.",
        surge,
    ),
    Act(
        "The server stalls",
        "It accepts everything and answers nothing. Callers pile up, nobody is dropped, and they are served in order.",
        stall,
    ),
    Act(
        "A handler forgets",
        "Checkouts keep their connections while they ask somebody else. Callers time out, and the error says who holds "
        "what, and where.",
        forget,
    ),
    Act(
        "The server dies",
        "Killed, and back after a while. Dead connections are found before anybody is given one.",
        kill,
    ),
)


def _served(*traffic: Traffic) -> Claim:
    served = sum(len(each.served) for each in traffic)
    errors = [error for each in traffic for error in each.errors]
    wrong = f"{len(errors)} failed" if errors else "not one failed"
    return Claim(f"{served:,} requests, each read its own reply; {wrong}", served > 0 and not errors)


def _no_longer_bursting(stats: PoolStats) -> bool:
    return stats.total <= MAX_SIZE
