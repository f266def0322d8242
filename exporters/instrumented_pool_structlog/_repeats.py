"""Lines that repeat: the first few of a kind are logged, the others are counted, and no count is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from instrumented_pool import AcquireFailed, CloseError, CreateFailed, Event, ObserverFailed, PoolClosed, PoolStats

Kind: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a hook, and those keys and values of the line that tell its kinds apart."""


class Suppressed(NamedTuple):
    """What was counted of one kind in a window that is over; `seconds` lie between its beginning and the last."""

    kind: Kind
    level: int
    lines: int
    seconds: float


@dataclass(slots=True)
class _Window:
    began: float
    ends: float = 0.0
    level: int = 0
    lines: int = 0


class Repeats:
    """The windows of one pool, each of which begins with the first line of its kind.

    Without a timer: a window that is over is reported with the next event of its pool, whatever that is, and all are
    when the pool is closed. What may come after that is either bounded by the number of connections, and not held
    back, or a caller that was turned away, and then reported with the last of those.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: dict[Kind, _Window] = {}
        self._closed = False
        self._turning_away = False

    def let_through(self, event: Event, level: int) -> bool:
        """Whether `event` is among the first of its kind; it is counted if not."""
        if self._closed and not isinstance(event, AcquireFailed):
            return True
        window = self._windows.setdefault(kind_of(event), _Window(event.at))
        window.lines += 1
        window.level, window.ends = level, event.at
        return window.lines <= self._most

    def end(self, before: float) -> Iterator[Suppressed]:
        """Forget the windows that began before that time, and say what they have counted."""
        for kind, window in list(self._windows.items()):
            if window.began <= before:
                del self._windows[kind]
                if window.lines > self._most:
                    yield Suppressed(kind, window.level, window.lines - self._most, window.ends - window.began)

    def is_last(self, event: Event) -> bool:
        """Whether no other event need follow this one, which would have the windows reported."""
        if isinstance(event, PoolClosed):
            self._closed = self._turning_away = True
            return True
        last = self._turning_away and isinstance(event, AcquireFailed) and not _asking(event.pool.stats())
        self._turning_away &= not last
        return last


def kind_of(event: Event) -> Kind:
    """What one outage repeats, without hiding another: by reason, by the type of the error, by the observer's hook."""
    match event:
        case AcquireFailed() | CloseError():
            return event.name, (("reason", event.reason),)
        case CreateFailed():
            return event.name, (("error", type(event.error).__name__),)
        case ObserverFailed():
            return event.name, (("observer", type(event.observer).__qualname__), ("hook", event.hook))
        case _:
            return event.name, ()


def _asking(stats: PoolStats) -> int:
    """Callers that have neither their connection nor been told that there is none."""
    return stats.acquires - sum(stats.acquired.values()) - sum(stats.failed.values())
