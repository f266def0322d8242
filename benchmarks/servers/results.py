"""The figures of one `make bench-servers`, as they are committed: docs/side-by-side/results.json."""

import json
from dataclasses import dataclass
from typing import TypedDict, cast

from ..results import DOCS, Machine

RESULTS = DOCS / "side-by-side" / "results.json"

DRIVERS = ("asyncpg", "psycopg", "redis")

PATIENCE = 10.0
"""Seconds for which anybody watches a pool whose server is back."""


class Load(TypedDict):
    """One turn of a crowd that asks again and again.

    Attributes:
        rate: right replies in a second.
        p50, p99, p999: percentiles of the seconds from wanting a connection until it is given back.
        fewest, most: right replies of the worker with the fewest, and with the most.
        starved: workers without any, where others had some.
        refused: requests that raised.
        wrong: replies to somebody else's request.
        opened: connections that the server saw opened, those that the pool began with among them.
    """

    rate: float
    p50: float
    p99: float
    p999: float
    fewest: int
    most: int
    starved: int
    refused: int
    wrong: int
    opened: int


class Recovery(TypedDict):
    """A server killed and started again under a crowd.

    Attributes:
        first: seconds from the moment at which it answers until the first right reply to the crowd.
        everybody: until each worker has had one. Both are None where that took longer than anybody watched.
        refused: requests that raised, from the kill on.
        wrong: replies to somebody else's request.
    """

    first: float | None
    everybody: float | None
    refused: int
    wrong: int


class Cancelled(TypedDict):
    """What is left of a pool when requests were cancelled at random moments.

    Attributes:
        cancelled: requests.
        seconds: that it took.
        hung: requests that had not ended seconds after they were cancelled.
        refused: requests that raised something else.
        wrong: replies to somebody else's request, during it and afterwards.
        usable: connections that can be had at once afterwards, of `size`.
        size: the most that the pool may have.
        opened: connections that the server saw opened.
        left: connections that are still there when the pool is closed.
    """

    cancelled: int
    seconds: float
    hung: int
    refused: int
    wrong: int
    usable: int
    size: int
    opened: int
    left: int


class Figures(TypedDict):
    """Of one driver: turns by the name of the pool. Loads are by "tasks/connections"."""

    load: dict[str, dict[str, list[Load]]]
    recovery: dict[str, list[Recovery]]
    cancelled: dict[str, Cancelled]
    observed: dict[str, list[Load]]


class Results(Machine):
    """All drivers, and where they were tried.

    Attributes:
        python: the version.
        load: the most of the load averages before the turns began.
        drivers: figures by the name of the driver.
    """

    python: str
    load: float
    drivers: dict[str, Figures]


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        loads: how many tasks want how many connections.
        turns: of each pool, at each of them.
        seconds: that a turn takes.
        kills: of the server, for each pool.
        cancels: requests of each pool,
        cancelling: or as many as that many seconds see.
        patience: seconds in which its connections have to be had afterwards.
    """

    loads: tuple[tuple[int, int], ...]
    turns: int
    seconds: float
    kills: int
    cancels: int
    cancelling: float
    patience: float


FULL = Effort(
    loads=((10, 10), (100, 10), (100, 50), (1_000, 10), (1_000, 50), (5_000, 50)),
    turns=5,
    seconds=0.5,
    kills=3,
    cancels=10_000,
    cancelling=20.0,
    patience=3.0,
)
QUICK = Effort(loads=((100, 10),), turns=1, seconds=0.05, kills=1, cancels=100, cancelling=1.0, patience=0.5)
"""Figures that mean nothing: to see that everything runs."""


def load() -> Results:
    """Read what was committed."""
    return cast(Results, json.loads(RESULTS.read_text()))
