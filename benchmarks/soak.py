"""A pool that has to bear everything, for a million operations: `make soak`.

Callers come, give up, fail and are cancelled, on connections that are refused, arrive dead, die and hang when closed,
in a pool that is resized and cleared all the while. At the end everything must add up: what the callers saw, what the
pool counted, what an observer was told and what the server knows. Prints the ledger; exits with 1 if it does not.

With --server it is real servers that fail, in every way of docs/chaos.md, behind every strategy, for as many minutes as
wanted. Words behind it choose: names of strategies, or pieces of faults' names.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import ClassVar

from instrumented_pool import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    AcquireStarted,
    Closed,
    ConnectionPool,
    ConnectionStrategy,
    Created,
    CreateFailed,
    CreateStarted,
    Event,
    Observer,
    PoolQueueFullError,
    PoolTimeoutError,
    Released,
)
from instrumented_pool.testing import ChaosError, ChaosStrategy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.chaos.siege import Siege  # found by the line above
from support.memory import Ledger, Memory

ROUNDS, WARM_UP = 20, 4  # the memory is looked at after each round, and compared from the end of the warm-up on
CROWD, FEW = 60, 4  # tasks, in turn: there is a queue, or a connection is idle
MAX_SIZE, MAX_BURST = 10, 6
LEAK = 1000  # blocks of memory: less is how a heap breathes, and a leak of one in 500 operations of a million is more


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


class Mishap(Exception):
    """What goes wrong in a caller's body."""


class Connection:
    def __init__(self) -> None:
        self.dead = self.lent = self.dirty = False


class Server(ConnectionStrategy[Connection]):
    """Knows which connections are open, and nothing of those that were."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.made = self.closed = 0
        self.open: set[Connection] = set()

    async def create_connection(self) -> Connection:
        conn = Connection()
        self.open.add(conn)
        self.made += 1
        return conn

    def connection_is_closed(self, conn: Connection) -> bool:
        conn.dead = conn.dead or self.random.random() < 0.001
        return conn.dead

    async def close_connection(self, conn: Connection) -> None:
        self.open.remove(conn)
        self.closed += 1
        await asyncio.sleep(0)


class Auditor(Observer):
    """Keeps what has begun until it ends, and counts."""

    STARTS: ClassVar[dict[type[Event], str]] = {
        AcquireStarted: "acquire_id",
        Acquired: "acquire_id",
        CreateStarted: "connection_id",
        Created: "connection_id",
    }
    ENDS: ClassVar[dict[type[Event], type[Event]]] = {
        Acquired: AcquireStarted,
        AcquireFailed: AcquireStarted,
        Released: Acquired,
        Created: CreateStarted,
        CreateFailed: CreateStarted,
        Closed: Created,
    }

    def __init__(self) -> None:
        self.begun: set[tuple[type[Event], int]] = set()
        self.events: Counter[str] = Counter()
        self.unpaired = self.most_connections = self.most_waiting = 0

    def on_event(self, event: Event) -> None:
        kind = type(event)
        self.events[event.name] += 1
        if kind in self.ENDS:
            start = self.ENDS[kind]
            key = start, getattr(event, self.STARTS[start])
            self.unpaired += key not in self.begun
            self.begun.discard(key)
        if kind in self.STARTS:
            self.begun.add((kind, getattr(event, self.STARTS[kind])))

    def on_create_started(self, event: CreateStarted) -> None:
        self.most_connections = max(self.most_connections, event.pool.stats().total)

    def on_acquire_queued(self, event: AcquireQueued) -> None:
        self.most_waiting = max(self.most_waiting, event.waiting)


class Soak:
    """One run."""

    def __init__(self, operations: int, seed: int) -> None:
        self.operations = operations
        self.random = Random(seed)
        self.server = Server(self.random)
        self.chaos = ChaosStrategy(
            self.server,
            seed=seed,
            connect_delay=0.001,
            connect_failures=0.03,
            dead_on_arrival=0.01,
            check_failures=0.0005,
            hung_closes=0.002,
        )
        self.auditor = Auditor()
        self.pool = ConnectionPool(
            strategy=self.chaos,
            max_size=MAX_SIZE,
            burst_limit=MAX_SIZE + MAX_BURST,
            min_size=1,
            max_waiting=CROWD * 3 // 4,
            max_connecting=4,
            max_lifetime=0.1,
            idle_timeout=0.02,
            close_timeout=0.02,
            leak_after=0.02,
            observers=[self.auditor],
        )
        self.pool.keep_distributions()
        self.seen: Counter[str] = Counter()  # how acquires ended, as their callers saw it
        self.other: Counter[str] = Counter()  # what else was done, or happened
        self.memory = Memory(WARM_UP)
        self.seconds = 0.0

    async def run(self) -> None:
        begun = time.monotonic()
        for number in range(ROUNDS):
            await self._round(iter(range(number, self.operations, ROUNDS)), FEW if number % 2 else CROWD)
            await asyncio.sleep(0.03)  # longer than idle_timeout
            self.memory.weigh()
        await self.pool.close()
        self.seconds = time.monotonic() - begun

    async def _round(self, operations: Iterator[int], tasks: int) -> None:
        owner = asyncio.create_task(self._own())
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(self._work(operations))
        owner.cancel()
        await asyncio.wait({owner})

    async def _own(self) -> None:
        """Resize and clear the pool, again and again."""
        pool, random = self.pool, self.random
        while True:
            await asyncio.sleep(random.uniform(0, 0.02))
            pool.burst_limit = None
            pool.max_size = random.randint(2, MAX_SIZE)
            pool.burst_limit = pool.max_size + random.randint(0, MAX_BURST)
            self.other["resizes"] += 1
            if random.random() < 0.2:
                pool.clear()
                self.other["clears"] += 1

    async def _work(self, operations: Iterator[int]) -> None:
        """Take one operation after the other, until they are all done."""
        for _ in operations:
            if self.random.random() < 0.1:
                await self._borrow_and_be_cancelled()
            else:
                await self._borrow()

    async def _borrow_and_be_cancelled(self) -> None:
        """After a few steps, wherever it is then, or in the middle of its body."""
        within = self.random.random() < 0.5
        task = asyncio.create_task(self._borrow(cancelled=within))
        if not within:
            for _ in range(self.random.randint(1, 12)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            self.other["callers cancelled"] += 1
        else:
            task.result()

    async def _borrow(self, *, cancelled: bool = False) -> None:
        options = {"timeout": self.random.uniform(0, 0.01)} if self.random.random() < 0.3 else {}
        entered = False
        try:
            async with self.pool.get_connection(**options) as conn:
                entered = True
                await self._use(conn, cancelled)
        except Mishap:
            self.other["bodies failed"] += 1
        except PoolTimeoutError:
            self.seen["timeout"] += 1
            if not options:  # half a minute: a slot or a wake-up is lost, and the run with it
                raise
        except PoolQueueFullError:
            self.seen["queue_full"] += 1
            await asyncio.sleep(0.002)  # before the next try: else all the operations would end here
        except ChaosError:
            self.seen["create_error"] += 1
        except TimeoutError:
            self.other["exits that raised a hung close"] += 1
        except asyncio.CancelledError:
            self.seen["cancelled"] += not entered
            raise
        finally:
            self.seen["acquired"] += entered

    async def _use(self, conn: Connection, cancelled: bool) -> None:
        self.other["lent twice"] += conn.lent
        self.other["lent after a cancelled body"] += conn.dirty
        conn.lent = True
        try:
            for _ in range(self.random.randint(0, 3)):
                await asyncio.sleep(0)
            if cancelled:
                raise asyncio.CancelledError  # as a body sees it that is cancelled while it waits
            if self.random.random() < 0.02:
                raise Mishap
            if self.random.random() < 0.0005:
                await asyncio.sleep(0.03)  # longer than leak_after
        except asyncio.CancelledError:
            conn.dirty = True
            raise
        finally:
            conn.lent = False

    def ledger(self) -> Ledger:
        """What it went through, by its name."""
        stats, auditor = self.pool.stats(), self.auditor
        return {
            f"{stats.acquires:,} acquires": {
                **{f"given a connection: {source}": count for source, count in stats.acquired.items()},
                **{f"failed: {reason}": count for reason, count in stats.failed.items()},
            },
            f"{stats.created:,} connections made, {sum(stats.closed.values()):,} closed": {
                "creations that failed": stats.create_errors,
                **{f"closed: {reason}": count for reason, count in stats.closed.items()},
                "closes that failed or hung": stats.close_errors,
                "open at the end": len(self.server.open),
            },
            "besides": {
                **dict(sorted(self.other.items())),
                "bursts": stats.bursts,
                "leaks suspected": stats.leaks_suspected,
                "events": sum(auditor.events.values()),
                "most connections at a time": auditor.most_connections,
                "most callers queued at a time": auditor.most_waiting,
            },
            "memory": self.memory.ledger(),
            f"{self.operations:,} operations in {self.seconds:.1f} s": {},
        }

    def faults(self) -> Iterator[str]:
        """Whatever does not add up."""
        stats, server, auditor = self.pool.stats(), self.server, self.auditor
        counted: dict[str, int] = {reason: count for reason, count in stats.failed.items() if count}
        counted["acquired"] = sum(stats.acquired.values())
        accounts: dict[str, tuple[object, object]] = {
            "acquires, as callers saw them and as the pool counted them": (dict(+self.seen), counted),
            "acquires begun and ended": (stats.acquires, sum(counted.values())),
            "acquires counted and told of": (stats.acquires, auditor.events["on_acquire_started"]),
            "operations asked for and seen to end": (self.operations, sum(self.seen.values())),
            "connections made, by the pool's count and the server's": (stats.created, server.made),
            "connections closed, by the pool's count and the server's": (sum(stats.closed.values()), server.closed),
            "connections made and closed": (server.made, server.closed),
            "connections open at the end": (len(server.open), 0),
            "slots and callers at the end": (stats.total + stats.waiting, 0),
            "events without their other half": (len(auditor.begun) + auditor.unpaired, 0),
            "connections lent twice at a time": (self.other["lent twice"], 0),
            "connections lent after a cancelled body": (self.other["lent after a cancelled body"], 0),
            "hooks that raised": (stats.observer_errors, 0),
            "connections above the hard limit": (max(0, auditor.most_connections - MAX_SIZE - MAX_BURST), 0),
        }
        for what, (one, other) in accounts.items():
            if one != other:
                yield f"{what}: {one} and {other}"
        if self.memory.drift > LEAK:
            yield f"memory: {self.memory.drift:,} blocks more than after the warm-up, and {LEAK:,} are allowed"


def show(ledger: Ledger) -> None:
    """Print it."""
    for title, lines in ledger.items():
        print(f"\n{title}")
        for what, count in lines.items():
            print(f"  {what:40} {count if isinstance(count, str) else format(count, ','):>14}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000, help="acquires in all (default %(default)s)")
    parser.add_argument("--server", nargs="*", metavar="WORD", help="real servers instead, which fail")
    parser.add_argument("--minutes", type=float, default=10.0, help="with --server: how long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (default %(default)s)")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="the event loop (default %(default)s)")
    options = parser.parse_args()
    if options.server is not None and options.loop != "asyncio":
        parser.error("--server takes asyncio's own loop, whose resolver can be made to fail")
    ordeal: Soak | Siege = Soak(options.operations, options.seed)
    if options.server is not None:
        logging.disable()  # the drivers complain of every fault
        try:
            ordeal = Siege(options.server, options.minutes * 60, options.seed, partial(print, flush=True))
        except ValueError as error:
            parser.error(str(error))
    with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
        runner.run(ordeal.run())
    show(ordeal.ledger())
    faults = list(ordeal.faults())
    for fault in faults:
        print(f"DOES NOT ADD UP: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
