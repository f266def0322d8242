"""What a pool says of itself: counts, distributions and holders, as frozen snapshots."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from ._events import CloseReason, FailReason, Source

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the buckets of every distribution; one more bucket holds what is longer."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How many durations fell into each bucket.

    Attributes:
        bounds: upper bounds of the buckets in seconds, inclusive, ascending.
        counts: durations in each bucket, not cumulated; one longer than `bounds`.
        sum: all durations together, in seconds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """Durations recorded."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """The duration in seconds below which the share `q` of them lies; NaN when there are none.

        Interpolated within its bucket as Prometheus' `histogram_quantile` does, and so never above the last bound.

        Raises:
            ValueError: `q` is not between 0 and 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be between 0 and 1, got {q!r}")
        total = self.count
        if not total:
            return float("nan")
        rank, below, lower = q * total, 0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and below + count >= rank:
                return lower + (bound - lower) * max(0.0, rank - below) / count
            below, lower = below + count, bound
        return self.bounds[-1]


class Histogram:
    """A distribution in the making."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def record(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def snapshot(self, none: int = 0) -> Distribution:
        """What was recorded, and `none` durations of no time at all."""
        first, *others = self.counts
        return Distribution(BOUNDS, (first + none, *others), self.sum)


class Distributions:
    """The three that a pool keeps once somebody asks."""

    __slots__ = ("create", "use", "wait")

    def __init__(self) -> None:
        self.wait, self.use, self.create = Histogram(), Histogram(), Histogram()


class Tally:
    """What a pool has counted so far, apart from the plainest acquires, which the pool counts itself."""

    __slots__ = (
        "acquired",
        "bursts",
        "close_errors",
        "closed",
        "create_errors",
        "created",
        "failed",
        "leaks_suspected",
    )

    def __init__(self) -> None:
        self.acquired: dict[Source, int] = dict.fromkeys(get_args(Source), 0)
        self.created = self.create_errors = self.close_errors = self.bursts = self.leaks_suspected = 0
        self.failed: dict[FailReason, int] = dict.fromkeys(get_args(FailReason), 0)
        self.closed: dict[CloseReason, int] = dict.fromkeys(get_args(CloseReason), 0)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a connection, for how long, and where that task is now.

    Attributes:
        acquire_id: which acquire of the pool it is.
        connection_id: which connection it holds.
        task: the name of the task that acquired it.
        held: seconds since it was acquired.
        where: the frames the task is suspended in, the outermost first, as `function (file:line)`; no variables,
            no values. Of a task that has ended, its coroutine, marked as finished. Where the body is over, that the
            connection is being reset.
    """

    acquire_id: int
    connection_id: int
    task: str
    held: float
    where: tuple[str, ...]

    def __str__(self) -> str:
        where = " > ".join(self.where)
        return f"{self.task} has held connection {self.connection_id} for {self.held:.3f} s, now in {where}"


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment. Counts of states are read from the slots; counters only ever rise.

    Attributes:
        name: the pool's name.
        min_size, max_size, burst_limit: its limits; `burst_limit` is None where none is set.
        creating, idle, in_use, closing: connections in each state.
        waiting: callers queued.
        acquires: acquires started.
        acquired: acquires that got a connection, by source.
        failed: acquires that did not, by reason.
        created: connections made.
        create_errors: connections that could not be made.
        closed: connections that left, by reason.
        close_errors: closes that failed or overran.
        bursts: times the total rose above `max_size`.
        leaks_suspected: holds that passed `leak_after`.
        observer_errors: hooks that raised.
        observer_seconds: seconds that observers have spent in their hooks, by the name of their class (`Name#2` for
            the second of a class): an estimate, for one event in 61 is timed.
        oldest_hold: seconds the longest present hold has lasted, 0 where nothing is lent.
        wait, use, create: the distributions, or None until `keep_distributions()`.
    """

    name: str
    min_size: int
    max_size: int
    burst_limit: int | None
    creating: int
    idle: int
    in_use: int
    closing: int
    waiting: int
    acquires: int
    acquired: Mapping[Source, int]
    failed: Mapping[FailReason, int]
    created: int
    create_errors: int
    closed: Mapping[CloseReason, int]
    close_errors: int
    bursts: int
    leaks_suspected: int
    observer_errors: int
    observer_seconds: Mapping[str, float]
    oldest_hold: float
    wait: Distribution | None = None
    use: Distribution | None = None
    create: Distribution | None = None

    def __str__(self) -> str:
        return (
            f"waiting={self.waiting} in_use={self.in_use} idle={self.idle} creating={self.creating}"
            f" closing={self.closing} max_size={self.max_size} burst_limit={self.burst_limit}"
        )

    @property
    def total(self) -> int:
        """Connections of every state. Never above `limit`."""
        return self.creating + self.idle + self.in_use + self.closing

    @property
    def limit(self) -> int:
        """The hard limit: `burst_limit`, or `max_size` where none is set."""
        return self.max_size if self.burst_limit is None else self.burst_limit

    @property
    def bursting(self) -> bool:
        """Whether there are more connections than `max_size`."""
        return self.total > self.max_size
