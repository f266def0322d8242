"""Bad input is refused at the door, with the parameter and its value."""

import inspect
from collections.abc import Iterable
from math import inf, isnan
from typing import Any, Literal, TypeVar, overload

from ._bus import check_observer
from ._events import Observer
from ._strategy import Conn, ConnectionStrategy

T = TypeVar("T", bound=str)


def name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"name must be a string, got {value!r}")
    if not value:
        raise ValueError("name must not be empty: it tells this pool from others in messages and telemetry")
    return value


def strategy(value: ConnectionStrategy[Conn]) -> ConnectionStrategy[Conn]:
    if not isinstance(value, ConnectionStrategy):
        raise TypeError(
            f"strategy must be an instance of a ConnectionStrategy, got {_kind(value)}; "
            "one written for asyncio-connection-pool goes through instrumented_pool.compat.adapt_strategy()"
        )
    questions(value)
    return value


def check_after(strategy: ConnectionStrategy[Any]) -> float | None:
    limit = seconds("check_after", strategy.check_after, zero=False)
    if limit is not None and not overrides(strategy, "check_connection"):
        raise TypeError(f"strategy: {type(strategy).__qualname__} has check_after={limit!r}, but no check_connection")
    return limit


def overrides(strategy: ConnectionStrategy[Any], method: str) -> bool:
    """Whether a strategy has a method of its own where a default would do."""
    return getattr(getattr(strategy, method), "__func__", None) is not getattr(ConnectionStrategy, method)


def questions(strategy: object) -> None:
    for question in ("connection_is_closed", "connection_is_reusable"):
        if inspect.iscoroutinefunction(getattr(strategy, question, None)):
            raise TypeError(
                f"strategy: {type(strategy).__qualname__}.{question} must be a plain function, not an async def: "
                "the coroutine that it returns would always mean True"
            )


def _kind(value: object) -> str:
    """A class or the class of a value, never the value's own repr: a strategy may hold a password."""
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"an object of {type(value).__qualname__}"


def sizes(min_size: int, max_size: int, burst_limit: int | None) -> tuple[int, int, int | None]:
    count("min_size", min_size, least=0, none=False)
    count("max_size", max_size, least=1, none=False)
    count("burst_limit", burst_limit, least=1)
    if burst_limit is not None and burst_limit < max_size:
        raise ValueError(
            "burst_limit must be greater than or equal to max_size, "
            f"got burst_limit={burst_limit} and max_size={max_size}"
        )
    if min_size > max_size:
        raise ValueError(
            f"min_size must be less than or equal to max_size, got min_size={min_size} and max_size={max_size}"
        )
    return min_size, max_size, burst_limit


def count(parameter: str, value: int | None, *, least: int, none: bool = True) -> int | None:
    if value is None and none:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{parameter} must be an integer{' or None' if none else ''}, got {value!r}")
    if value < least:
        raise ValueError(f"{parameter} must be at least {least}, got {value!r}")
    return value


@overload
def seconds(parameter: str, value: float, *, zero: bool = ..., none: Literal[False]) -> float: ...
@overload
def seconds(parameter: str, value: float | None, *, zero: bool = ..., none: bool = ...) -> float | None: ...
def seconds(parameter: str, value: float | None, *, zero: bool = True, none: bool = True) -> float | None:
    if value is None and none:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{parameter} must be a number of seconds{' or None' if none else ''}, got {value!r}")
    if isnan(value) or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{parameter} must be {'at least' if zero else 'more than'} 0 seconds, got {value!r}")
    return float(value)


def wait(parameter: str, value: float | None) -> float:
    """Seconds to wait at most, infinity for None."""
    limit = seconds(parameter, value)
    return inf if limit is None else limit


def choice(parameter: str, value: T, allowed: tuple[T, ...]) -> T:
    if value not in allowed:
        raise ValueError(f"{parameter} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def observers(value: Iterable[Observer]) -> tuple[Observer, ...]:
    if isinstance(value, Observer) or not isinstance(value, Iterable):
        raise TypeError(f"observers must be a list of Observer instances, got {_kind(value)}")
    listed: tuple[Any, ...] = tuple(value)
    for observer in listed:
        check_observer(observer)
    return listed
