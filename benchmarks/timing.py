"""How time is taken: in turns, and the best counts.

A machine is rarely quiet, and what disturbs it lasts longer than a turn. So the contestants of a scenario take turns of
a few thousandths of a second, all of them in every round, in one process; the best turn of each is its figure, and the
median says how much the machine disturbed. That is why pyperf is not used: it gives each contestant processes of its
own, one contestant after the other, and a ratio would be of two different minutes.
"""

import gc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median

from .results import Timing

Turn = Callable[[int], Awaitable[float]]
"""Does something about so many times, and gives back the seconds that one took."""


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: turns of each contestant.
        turn: seconds that one takes at least.
        crowds: how many tasks contend, and turns of each contestant then.
        acquires: of each of these tasks.
        depths: how many callers are queued.
        fills: how often each of these queues is made.
        seconds: of what takes place in real time.
        population: callers and connections that are weighed.
    """

    rounds: int
    turn: float
    crowds: Mapping[int, int]
    acquires: int
    depths: tuple[int, ...]
    fills: int
    seconds: float
    population: int


FULL = Effort(
    rounds=30,
    turn=0.005,
    crowds={20: 30, 1_000: 5},
    acquires=10,
    depths=(100, 1_000, 10_000),
    fills=5,
    seconds=2.0,
    population=500,
)
QUICK = Effort(
    rounds=1, turn=0.0, crowds={20: 1, 1_000: 1}, acquires=1, depths=(100, 200), fills=1, seconds=0.1, population=100
)
"""Figures that mean nothing: to see that everything runs."""


async def in_turns(contest: Mapping[str, Turn], rounds: int, seconds: float = 0.0) -> dict[str, Timing]:
    """Time every contestant, with turns of at least so many seconds."""
    times = {name: await _enough(turn, seconds) for name, turn in contest.items()}
    took: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(rounds):
        for name, turn in contest.items():
            gc.collect()  # what the others left is not this one's to collect
            took[name].append(await turn(times[name]))
    return {name: Timing(best=min(each), median=median(each)) for name, each in took.items()}


async def _enough(turn: Turn, seconds: float) -> int:
    """How often to do it for a turn to last, found by doing it, each time twice in case one is disturbed."""
    await turn(1)  # warms up
    times = 1
    while seconds and min(await turn(times), await turn(times)) * times < seconds:
        times *= 2
    return times
