"""`StructlogObserver`: which event is logged, at which level, with which keys."""

from asyncio import CancelledError
from dataclasses import fields
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Protocol, TypeAlias, final

try:
    from structlog import get_logger
except ImportError as error:
    raise ImportError(
        "StructlogObserver needs structlog: pip install 'instrumented-pool[structlog]'", name="structlog"
    ) from error

from instrumented_pool import AcquireFailed, CreateFailed, Event, Holder, Observer
from instrumented_pool.redaction import describe_error

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


class Logger(Protocol):
    """What is needed of a structlog logger; the filtering ones and `structlog.stdlib.BoundLogger` are such."""

    def log(self, level: int, event: str, *args: Any, **kw: Any) -> Any:
        """Log `event` at a level of the standard library's `logging`, with what is in `kw` as its keys and values."""


@final
class StructlogObserver(Observer):
    """Logs a pool's events: the name of the hook as the event, the event's fields and the pool's name as keys.

    Errors are told as one line of text without credentials and without a traceback, holders as text, the observer
    that failed by its class.

    Args:
        logger: where to log; by default `structlog.get_logger("instrumented_pool")`.
        routine: also log, at debug level, every acquire, release, creation and close. Not subscribed to otherwise, and
            so free of cost.
    """

    def __init__(self, *, logger: Logger | None = None, routine: bool = False) -> None:
        self._logger: Logger = get_logger("instrumented_pool") if logger is None else logger
        self._levels = LEVELS | ROUTINE_LEVELS if routine else LEVELS
        for hook in self._levels:  # on the instance, so that the pool subscribes it to these and to no other
            setattr(self, hook, self._log)

    def _log(self, event: Event) -> None:
        level = self._levels[event.name]
        match event:
            case AcquireFailed(reason=reason):
                level = FAIL_LEVELS.get(reason, level)
            case CreateFailed(error=CancelledError()):  # the pool was closed meanwhile, or the loop is ending
                level = INFO
            case _:
                pass
        own = (field.name for field in fields(event) if field.name not in ("pool", "at"))  # the time is the logger's
        values = {name: _loggable(getattr(event, name)) for name in own}
        self._logger.log(level, event.name, pool=event.pool.name, **values)


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
