"""The pools an exporter reports: held weakly, and each under a name of its own."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from ._bus import free_name
from .metrics import POOL_NAME, Attributes, AttributeValue

if TYPE_CHECKING:
    from ._pool import ConnectionPool

__all__ = ["PoolRoster"]

_log = logging.getLogger("instrumented_pool")


@dataclass(frozen=True, slots=True)
class _Entry:
    pool: "ReferenceType[ConnectionPool[Any]]"
    name: str
    attributes: dict[str, AttributeValue]
    retired: bool = False


class PoolRoster:
    """The pools that one exporter reports, and the attributes of each.

    Two pools of one name would be one series with two values: the second is called `name#2`, and a warning is logged.
    A closed pool is reported until it is garbage-collected or another pool takes its name.

    Pools come and go on their event loops while a collecting thread reads: the entries are one tuple, replaced whole.
    """

    def __init__(self) -> None:
        self._entries: tuple[_Entry, ...] = ()
        self._changing = Lock()

    def __iter__(self) -> "Iterator[tuple[ConnectionPool[Any], Attributes]]":
        for entry in self._entries:
            if (pool := entry.pool()) is not None:
                yield pool, entry.attributes

    def add(self, pool: "ConnectionPool[Any]", attributes: Attributes) -> Attributes:
        """Report `pool`; return its attributes: its strategy's, `attributes`, and the name that it is reported under.

        Raises:
            ValueError: it is reported already, and would be counted twice.
        """
        with self._changing:
            entries = [entry for entry in self._entries if entry.pool() is not None]
            if any(entry.pool() is pool for entry in entries):
                raise ValueError(f"pool {pool.name!r} is reported already: give each pool one exporter of a kind")
            name = free_name(pool.name, {entry.name for entry in entries if not entry.retired})
            entry = _Entry(ref(pool), name, {**pool.attributes, **attributes, POOL_NAME: name})
            self._entries = (*(entry for entry in entries if entry.name != name), entry)
        if name != pool.name:
            _log.warning("there is a pool %r already: this one is reported as %r", pool.name, name)
        return entry.attributes

    def retire(self, pool: "ConnectionPool[Any]") -> None:
        """Let the next pool of its name take the place of `pool`, which has been closed."""
        with self._changing:
            self._entries = tuple(
                replace(entry, retired=True) if entry.pool() is pool else entry for entry in self._entries
            )

    def remove(self, pool: "ConnectionPool[Any]") -> None:
        """Report `pool` no longer."""
        with self._changing:
            self._entries = tuple(entry for entry in self._entries if entry.pool() is not pool)
