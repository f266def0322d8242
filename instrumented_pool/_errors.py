"""What the pool raises. Everything is a `PoolError`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .redaction import describe_error

if TYPE_CHECKING:
    from ._stats import Holder, PoolStats

_HOLDERS_NAMED = 3


class PoolError(Exception):
    """Base of everything the pool raises of its own accord."""

    __module__ = "instrumented_pool"


class PoolTimeoutError(PoolError, TimeoutError):
    """No connection came free in time, or not all came back before the deadline of `close()`.

    The message names the pool, its counts, the three longest holds and the last creation error.

    Attributes:
        stats: the pool's counts at the moment the wait ended.
        holders: who held the connections at that moment, the longest hold first.
        last_create_error: what the last failed `create_connection` raised, or None if the last one succeeded.
    """

    __module__ = "instrumented_pool"

    def __init__(
        self,
        what: str,
        *,
        stats: "PoolStats",
        holders: "Sequence[Holder]" = (),
        last_create_error: BaseException | None = None,
    ) -> None:
        lines = [f"pool {stats.name!r}: {what} ({stats})", *(f"  {holder}" for holder in holders[:_HOLDERS_NAMED])]
        if len(holders) > _HOLDERS_NAMED:
            lines.append(f"  and {len(holders) - _HOLDERS_NAMED} more")
        if last_create_error is not None:
            lines.append(f"  the last connection could not be made: {describe_error(last_create_error)}")
        super().__init__("\n".join(lines))
        self.stats = stats
        self.holders = tuple(holders)
        self.last_create_error = last_create_error

    def __reduce__(self) -> "tuple[Any, ...]":
        return _copy_of, (type(self), self.args, self.__dict__)  # as it crosses to another process, say


def _copy_of(kind: type[PoolTimeoutError], args: tuple[object, ...], state: dict[str, Any]) -> PoolTimeoutError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class PoolDeadlockError(PoolTimeoutError):
    """Waiting is in vain: every connection is held by a task that itself waits for one of this pool.

    Raised at once, in the caller that would have been the first to give up, instead of when its time is up. Only where
    nobody else can give the connections back, which does not count somebody cancelling one of the tasks from outside.

    Attributes:
        holders: the tasks that hold the connections and wait for each other, the longest hold first.
    """

    __module__ = "instrumented_pool"


class PoolClosedError(PoolError):
    """The pool was closed before this caller had its connection."""

    __module__ = "instrumented_pool"


class PoolQueueFullError(PoolError):
    """`max_waiting` callers were queued already."""

    __module__ = "instrumented_pool"


class PoolLoopError(PoolError):
    """The pool was used from another event loop than the one it is bound to."""

    __module__ = "instrumented_pool"
