"""`StructlogObserver`: which event is logged, at which level, with which keys."""

from asyncio import CancelledError
from collections.abc import Iterable
from dataclasses import fields
from inspect import getattr_static
from logging import DEBUG, ERROR, INFO, WARNING, LoggerAdapter
from logging import Logger as StandardLogger
from math import inf
from typing import Any, Protocol, TypeAlias, final
from weakref import WeakKeyDictionary

try:
    from structlog import get_logger
except ImportError as error:
    raise ImportError(
        "StructlogObserver needs structlog: pip install 'instrumented-pool[structlog]'", name="structlog"
    ) from error

from instrumented_pool import AcquireFailed, ConnectionPool, CreateFailed, Event, Holder, Observer, PoolOpened, _check
from instrumented_pool.redaction import describe_error
from instrumented_pool.trace_ids import TraceIds, check_trace_ids, current_ids

from ._repeats import Repeats, Suppressed

Value: TypeAlias = str | int | float | bool | None

LEVELS = {
    "on_pool_opened": INFO,
    "on_pool_cleared": INFO,
    "on_pool_closed": INFO,
    "on_acquire_failed": ERROR,
    "on_create_failed": ERROR,
    "on_burst_started": INFO,
    "on_burst_limit_reached": WARNING,
    "on_burst_ended": INFO,
    "on_close_error": ERROR,
    "on_leak_suspected": WARNING,
    "on_observer_failed": ERROR,
}
"""What is always logged."""

ROUTINE_LEVELS = dict.fromkeys(
    (
        "on_acquire_started",
        "on_acquire_queued",
        "on_acquired",
        "on_released",
        "on_create_started",
        "on_created",
        "on_shrink",
        "on_closed",
    ),
    DEBUG,
)
"""What happens all the time while nothing is wrong."""

FAIL_LEVELS = {"cancelled": INFO, "pool_closed": WARNING}
"""Reasons of `on_acquire_failed` that are no error: the caller no longer wanted it, or the service is going down."""


_TAKEN = {"self", "level", "event"}
"""Parameters of a logger's, which cannot be keys of a line."""


class Logger(Protocol):
    """What is needed of a structlog logger; the filtering ones and `structlog.stdlib.BoundLogger` are such."""

    def log(self, level: int, event: str, *args: Any, **kw: Any) -> Any:
        """Log `event` at a level of the standard library's `logging`, with what is in `kw` as its keys and values."""


@final
class StructlogObserver(Observer):
    """Logs a pool's events: the name of the hook as the event, the event's fields and the pool's name as keys.

    Errors are told as one line of text without credentials and without a traceback, holders as text, the observer
    that failed by its class.

    Lines of one kind, of a pool and with one reason, are logged `max_repeats` times in a window; what comes until it is
    over is counted, and told in a line of the same event and level with the keys `suppressed` and `seconds`.

    Args:
        logger: where to log; by default `structlog.get_logger("instrumented_pool")`.
        routine: also log, at debug level, every acquire, release, creation and close, however often. Not subscribed to
            otherwise, and so free of cost.
        trace_ids: returns what to bind of the trace that is current, or None. Called in the context that the event
            belongs to: the caller's, of a creation a copy of it, of a suspected leak a copy of the holder's. What it
            raises costs the ids, not the line, and goes to `on_observer_failed` and the log, as with any observer.
        max_repeats: lines of one kind in a window; None holds nothing back.
        repeat_window: seconds that a window lasts, from the first line of its kind.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `max_repeats` is less than 1, or `repeat_window` not more than 0.
    """

    def __init__(
        self,
        *,
        logger: Logger | None = None,
        routine: bool = False,
        trace_ids: TraceIds | None = None,
        max_repeats: int | None = 10,
        repeat_window: float = 60.0,
    ) -> None:
        _check_logger(logger)
        check_trace_ids(trace_ids)
        self._trace_ids = trace_ids
        self._max_repeats = _check.count("max_repeats", max_repeats, least=1)
        self._window = _check.seconds("repeat_window", repeat_window, zero=False, none=False)
        self._repeats: WeakKeyDictionary[ConnectionPool[Any], Repeats] = WeakKeyDictionary()
        self._logger: Logger = get_logger("instrumented_pool") if logger is None else logger
        self._levels = LEVELS | ROUTINE_LEVELS if routine else LEVELS
        for hook in self._levels:  # on the instance, so that the pool subscribes it to these and to no other
            setattr(self, hook, self._log)

    def attached(self, pool: ConnectionPool[Any]) -> None:
        """Log what happens to `pool` from now on.

        Raises:
            ValueError: an attribute of its strategy has a key that the line of its opening has already.
        """
        if taken := pool.attributes.keys() & {*_TAKEN, "pool"}:
            raise ValueError(
                f"the strategy's attributes must not have the keys {sorted(taken)}: a line has them already"
            )

    def detached(self, pool: ConnectionPool[Any]) -> None:
        """Report what was held back of `pool`."""
        if (repeats := self._repeats.pop(pool, None)) is not None:
            self._report(pool, repeats.end(inf))

    def _log(self, event: Event) -> None:
        level = self._level_of(event)
        if self._max_repeats is None or event.name in ROUTINE_LEVELS:
            self._write(event, level)
            return
        repeats = self._repeats.setdefault(event.pool, Repeats(self._max_repeats))
        self._report(event.pool, repeats.end(event.at - self._window))
        wanted = repeats.let_through(event, level)
        if repeats.is_last(event):
            self._report(event.pool, repeats.end(inf))
        if wanted:
            self._write(event, level)

    def _level_of(self, event: Event) -> int:
        match event:
            case AcquireFailed(reason=reason) if reason in FAIL_LEVELS:
                return FAIL_LEVELS[reason]
            case CreateFailed(error=CancelledError()):  # the pool was closed meanwhile, or the loop is ending
                return INFO
            case _:
                return self._levels[event.name]

    def _write(self, event: Event, level: int) -> None:
        own = (field.name for field in fields(event) if field.name not in ("pool", "at"))  # the time is the logger's
        values = {"pool": event.pool.name, **{name: _loggable(getattr(event, name)) for name in own}}
        if isinstance(event, PoolOpened):
            values |= event.pool.attributes
        failure = None
        try:
            values = {**self._ids(), **values}
        except Exception as error:
            failure = error
        self._logger.log(level, event.name, **values)
        if failure is not None:
            raise failure

    def _ids(self) -> dict[str, str]:
        ids = {} if self._trace_ids is None else current_ids(self._trace_ids)
        if taken := ids.keys() & _TAKEN:
            raise ValueError(f"trace_ids must not return the keys {sorted(taken)}: structlog's own")
        return ids

    def _report(self, pool: ConnectionPool[Any], over: Iterable[Suppressed]) -> None:
        for (hook, values), level, lines, seconds in over:
            self._logger.log(level, hook, pool=pool.name, **dict(values), suppressed=lines, seconds=_loggable(seconds))


def _check_logger(logger: object) -> None:
    if isinstance(logger, StandardLogger | LoggerAdapter):
        raise TypeError(
            "logger must be structlog's, which takes keys and values: structlog.wrap_logger() makes it of yours"
        )
    # Looked for without asking: a lazy logger would be configured by that, once and for all.
    if logger is not None and all(getattr_static(logger, name, None) is None for name in ("log", "__getattr__")):
        raise TypeError(f"logger must have a method log, got {type(logger).__name__}")


def _loggable(value: object) -> Value:
    """Return text and numbers, seconds to the microsecond, and of all else a text that gives nothing away."""
    match value:
        case None | str() | int():
            return value
        case float():
            return round(value, 6)
        case BaseException():
            return describe_error(value)
        case Holder():
            return str(value)
        case _:
            return type(value).__qualname__
