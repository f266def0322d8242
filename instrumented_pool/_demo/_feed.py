"""What the audience is shown, whether by the live view or by plain lines."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from .. import BOUNDS, Distribution, PoolStats
from .. import _events as events
from .._events import Observer
from ..redaction import describe_error
from ._stage import Claim
from ._story import Act

WINDOW = 2.0  # seconds that percentiles look back
_TOGETHER, _NEARBY = 1.5, 6  # seconds and lines within which events of one kind share a line


@dataclass(eq=False)
class Line:
    """One line of the stream.

    Attributes:
        at: seconds since the beginning, of the last event in it.
        kind: events of one kind may share a line.
        text: what happened, of the last of them.
        style: one of `good`, `bad`, `notable`, `told` and `plain`.
        count: how many events of this kind it stands for.
        taken: whether somebody printed it, so that it cannot change any more.
    """

    at: float
    kind: str
    text: str
    style: str
    count: int = 1
    taken: bool = False


class Feed(Observer):
    """The stream of events in words. Those of a kind that come together share a line; the routine ones have none."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=200)
        self.began = time.monotonic()

    def tell(self, text: str) -> None:
        """Add a line of the story's own."""
        self._add(text, text, "told")

    def on_created(self, event: events.Created) -> None:
        self._add("created", f"connection {event.connection_id} made in {ms(event.duration)}", "plain")

    def on_create_failed(self, event: events.CreateFailed) -> None:
        self._add("create_failed", f"no connection: {describe_error(event.error)}", "bad")

    def on_burst_started(self, event: events.BurstStarted) -> None:
        self._add("burst", f"burst: {event.total} connections, above max_size={event.max_size}", "notable")

    def on_burst_limit_reached(self, event: events.BurstLimitReached) -> None:
        self._add("limit", f"burst_limit={event.burst_limit} reached: from here on callers wait", "notable")

    def on_burst_ended(self, event: events.BurstEnded) -> None:
        self._add("burst over", f"burst over after {event.duration:.1f} s, peak {event.peak}", "good")

    def on_closed(self, event: events.Closed) -> None:
        style = "plain" if event.reason in ("shrink", "pool_closed") else "bad"
        self._add(f"closed {event.reason}", f"connection {event.connection_id} closed: {event.reason}", style)

    def on_acquire_failed(self, event: events.AcquireFailed) -> None:
        self._add(f"failed {event.reason}", f"acquire failed after {event.wait:.2f} s: {event.reason}", "bad")

    def on_leak_suspected(self, event: events.LeakSuspected) -> None:
        text = f"leak? {event.holder.task} has held connection {event.connection_id} for {event.held:.1f} s"
        self._add("leak", text, "bad")

    def on_close_error(self, event: events.CloseError) -> None:
        self._add("close_error", f"close failed: {describe_error(event.error)}", "bad")

    def on_observer_failed(self, event: events.ObserverFailed) -> None:
        self._add("observer", f"observer failed in {event.hook}: {describe_error(event.error)}", "bad")

    def fresh(self) -> list[Line]:
        """The lines since the last call; what comes later gets lines of its own."""
        fresh = [line for line in self.lines if not line.taken]
        for line in fresh:
            line.taken = True
        return fresh

    def _add(self, kind: str, text: str, style: str) -> None:
        added = Line(time.monotonic() - self.began, kind, text, style)
        for line in list(self.lines)[-_NEARBY:]:
            if line.kind == kind and not line.taken and added.at - line.at < _TOGETHER:
                self.lines.remove(line)
                added.count += line.count
        self.lines.append(added)


@dataclass(frozen=True)
class Quantiles:
    """Seconds below which half, 95 % and 99 % lie; NaN where there was nothing."""

    p50: float
    p95: float
    p99: float


class Samples:
    """The pool's state ten times a second, with how it changed."""

    INTERVAL = 0.1  # seconds

    def __init__(self, stats: Callable[[], PoolStats]) -> None:
        self._stats = stats
        self._kept: deque[tuple[float, PoolStats]] = deque(maxlen=int(WINDOW / self.INTERVAL) + 1)
        self.in_use: list[float] = []
        self.waiting: list[float] = []
        self.wait_p95: list[float] = []
        self.served: list[float] = []
        self.take()

    @property
    def now(self) -> PoolStats:
        """The newest sample."""
        return self._kept[-1][1]

    def take(self) -> None:
        """Add a sample."""
        self._kept.append((time.monotonic(), self._stats()))
        (before, then), (at, now) = self._kept[max(-len(self._kept), -11)], self._kept[-1]
        self.in_use.append(now.in_use)
        self.waiting.append(now.waiting)
        p95 = _since(now.wait, then.wait).p95
        self.wait_p95.append(0.0 if math.isnan(p95) else p95)
        self.served.append((sum(now.acquired.values()) - sum(then.acquired.values())) / max(at - before, 0.1))

    def wait(self) -> Quantiles:
        """Of the waits that ended within the window."""
        return _since(self.now.wait, self._kept[0][1].wait)

    def use(self) -> Quantiles:
        """Of the uses that ended within the window."""
        return _since(self.now.use, self._kept[0][1].use)


@dataclass(frozen=True)
class Result:
    """How an act went: its claims, and the pool before and after."""

    act: Act
    claims: list[Claim]
    before: PoolStats
    after: PoolStats
    seconds: float

    @property
    def holds(self) -> bool:
        return all(claim.holds for claim in self.claims)

    @property
    def waits(self) -> Distribution:
        """Of the acquires that ended in this act."""
        return _difference(self.after.wait, self.before.wait)


@dataclass
class Programme:
    """What the views read.

    Attributes:
        heading: what runs on what, in a line.
        acts: all of them, in order.
        results: of those that are over.
        feed, samples: the stream of events, and the pool's state over time.
    """

    heading: str
    acts: tuple[Act, ...]
    feed: Feed
    samples: Samples
    results: list[Result] = field(default_factory=list)

    @property
    def act(self) -> Act | None:
        """The one that is playing, None at the end."""
        return self.acts[len(self.results)] if len(self.results) < len(self.acts) else None

    @property
    def claims(self) -> list[Claim]:
        """Of the acts that are over."""
        return [claim for result in self.results for claim in result.claims]

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.feed.began


class View(Protocol):
    """Shows the programme.

    Attributes:
        INTERVAL: seconds between two ticks.
    """

    INTERVAL: float

    def begin(self, act: Act) -> None:
        """An act begins."""

    def end(self, result: Result) -> None:
        """It is over."""

    def tick(self) -> None:
        """Time has passed."""

    def close(self) -> None:
        """The show is over, or was cut short; may be called again."""


def ms(seconds: float) -> str:
    """A duration for people, in milliseconds; a dash for none."""
    if math.isnan(seconds):
        return "–"
    if seconds <= BOUNDS[0]:  # a quantile within the first bucket is anywhere in it
        return f"< {BOUNDS[0] * 1000} ms"
    value = seconds * 1000
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def _since(now: Distribution | None, then: Distribution | None) -> Quantiles:
    recent = _difference(now, then)
    return Quantiles(recent.quantile(0.5), recent.quantile(0.95), recent.quantile(0.99))


def _difference(now: Distribution | None, then: Distribution | None) -> Distribution:
    if now is None or then is None:
        return Distribution((), (0,), 0.0)
    counts = tuple(a - b for a, b in zip(now.counts, then.counts, strict=True))
    return Distribution(now.bounds, counts, now.sum - then.sum)
