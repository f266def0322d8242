"""All of it again and again, for as long as one likes."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from random import Random

from ..memory import Ledger, Memory
from . import chosen
from .faults import Fault
from .trials import Stage, stage_of, trial

WARM_UP = 2  # rounds after which the memory no longer grows
LEAK = 1000  # blocks of memory: less is how a heap breathes


class Siege:
    """Rounds of trials, each in another order and for other times; after each round the memory is looked at.

    Args:
        words: which strategies and faults, as `chosen` understands them.
        seconds: after which no other round begins; there are at least as many as the memory needs.
        seed: of all that is left to chance.
        tell: is given a line for each round, and what went wrong in it.
    """

    def __init__(self, words: Iterable[str], seconds: float, seed: int, tell: Callable[[str], None]) -> None:
        self._chosen = chosen(words)
        self._seconds = seconds
        self._random = Random(seed)
        self.memory = Memory(WARM_UP)
        self._tell = tell
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self) -> None:
        until = time.monotonic() + self._seconds
        async with AsyncExitStack() as stack:
            trials: list[tuple[Stage, Fault]] = []
            for subject, faults in self._chosen.items():
                stage = await stack.enter_async_context(stage_of(subject))
                trials += [(stage, fault) for fault in faults]
            while self.seen["rounds"] <= WARM_UP or time.monotonic() < until:
                await self._round(trials)

    async def _round(self, trials: list[tuple[Stage, Fault]]) -> None:
        self.seen["rounds"] += 1
        for stage, fault in self._random.sample(trials, len(trials)):
            lasting, seed = self._random.uniform(0.5, 1.5), self._random.getrandbits(32)
            outcome = await trial(stage, fault, lasting=lasting, seed=seed)
            self.seen["trials"] += 1
            self.seen["callers who asked"] += outcome.asked
            self.seen["of them with a clear error"] += outcome.failed
            self.seen["connections made"] += outcome.stats.created
            if outcome.wrong:
                self.wrong.append(str(outcome))
                self._tell(str(outcome))
        self.memory.weigh()
        self._tell(", ".join(f"{count:,} {what}" for what, count in self.seen.items()))

    def ledger(self) -> Ledger:
        """What it went through, by its name."""
        return {"under fire": self.seen, "memory": self.memory.ledger()}

    def faults(self) -> Iterator[str]:
        """Whatever was not as it should be."""
        yield from self.wrong
        if self.memory.drift > LEAK:
            yield f"memory: {self.memory.drift:,} blocks more than after the warm-up, and {LEAK:,} are allowed"
