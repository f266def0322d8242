"""Old code keeps working: strategies written for `asyncio-connection-pool` are made into ours."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from . import _check
from ._strategy import ConnectionStrategy
from .metrics import Attributes

__all__ = ["AnyStrategy", "CreatingStrategy", "MakingStrategy", "adapt_strategy"]

_OPTIONAL = ("check_after", "check_connection", "connection_is_reusable", "reset_connection")

Conn = TypeVar("Conn")
Conn_contra = TypeVar("Conn_contra", contravariant=True)


class _ClosingStrategy(Protocol[Conn_contra]):
    def connection_is_closed(self, conn: Conn_contra, /) -> bool: ...
    def close_connection(self, conn: Conn_contra, /) -> Awaitable[None] | None: ...


class MakingStrategy(_ClosingStrategy[Conn], Protocol[Conn]):
    """A strategy as the ancestor had it: it defines `make_connection`."""

    def make_connection(self) -> Awaitable[Conn]:
        """Open a connection."""
        ...


class CreatingStrategy(_ClosingStrategy[Conn], Protocol[Conn]):
    """Anything that has the methods of our strategies without being one."""

    def create_connection(self) -> Awaitable[Conn]:
        """Open a connection."""
        ...


AnyStrategy: TypeAlias = ConnectionStrategy[Conn] | CreatingStrategy[Conn] | MakingStrategy[Conn]
"""What `adapt_strategy` takes."""


def adapt_strategy(strategy: AnyStrategy[Conn]) -> ConnectionStrategy[Conn]:
    """Return `strategy` as a `ConnectionStrategy`: itself where it is one, otherwise a thin wrapper around it.

    A strategy that has both `create_connection` and `make_connection` is asked to create. What else it has of a
    `ConnectionStrategy` is used, too.

    Raises:
        TypeError: it lacks one of the methods, its `connection_is_closed` or `connection_is_reusable` is an
            `async def`, or it is a class.
    """
    if isinstance(strategy, ConnectionStrategy):
        return strategy
    if isinstance(strategy, type):
        raise TypeError(f"strategy must be an instance, got the class {strategy.__qualname__}")
    for names in (("create_connection", "make_connection"), ("connection_is_closed",), ("close_connection",)):
        if not any(callable(getattr(strategy, name, None)) for name in names):
            raise TypeError(f"strategy must define {' or '.join(names)}, which {type(strategy).__qualname__} does not")
    _check.questions(strategy)
    return _Adapted(strategy)


class _Adapted(ConnectionStrategy[Conn]):
    def __init__(self, strategy: CreatingStrategy[Conn] | MakingStrategy[Conn]) -> None:
        self._strategy = strategy
        self._create: Callable[[], Awaitable[Conn]] = getattr(strategy, _creator(strategy))
        for name in _OPTIONAL:  # on this object, so that the pool sees which of them there are
            if hasattr(strategy, name):
                setattr(self, name, getattr(strategy, name))

    def __repr__(self) -> str:
        return f"<adapted {type(self._strategy).__qualname__}>"

    async def create_connection(self) -> Conn:
        return await self._create()

    def connection_is_closed(self, conn: Conn) -> bool:
        return self._strategy.connection_is_closed(conn)

    def close_connection(self, conn: Conn) -> Awaitable[None] | None:
        return self._strategy.close_connection(conn)

    @property
    def attributes(self) -> Attributes:
        attributes: Attributes = getattr(self._strategy, "attributes", {})
        return attributes


def _creator(strategy: object) -> str:
    return "create_connection" if callable(getattr(strategy, "create_connection", None)) else "make_connection"
