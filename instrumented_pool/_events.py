"""The events of a pool's life, and the `Observer` that is told of them.

Times are seconds on the clock of `time.monotonic()`, durations are seconds, counts are integers. Events are built only
where somebody listens. They are not frozen, because building a frozen dataclass costs more than twice as much; treat
them as read-only all the same, for every observer is given the same object.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    from ._pool import ConnectionPool
    from ._stats import Holder

Source: TypeAlias = Literal["idle", "new", "handoff"]
"""Where a connection came from: it lay idle, was made for the queue, or was handed over by the caller before."""

FailReason: TypeAlias = Literal["timeout", "cancelled", "create_error", "pool_closed", "queue_full", "deadlock"]
CloseReason: TypeAlias = Literal["shrink", "idle", "lifetime", "stale", "dirty", "cleared", "pool_closed"]


@dataclass(slots=True, eq=False)
class Event:
    """Something that changed in a pool.

    Attributes:
        name: the name of the hook that is given this event.
        pool: the pool it happened to.
        at: when, in seconds on the monotonic clock.
    """

    name: ClassVar[str]
    pool: "ConnectionPool[Any]"
    at: float


@dataclass(slots=True, eq=False)
class PoolOpened(Event):
    """The pool was bound to an event loop, by `open()` or by its first use."""

    name: ClassVar[str] = "on_pool_opened"


@dataclass(slots=True, eq=False)
class PoolCleared(Event):
    """`clear()` was called: what was connected before is replaced."""

    name: ClassVar[str] = "on_pool_cleared"


@dataclass(slots=True, eq=False)
class PoolClosed(Event):
    """The pool stopped taking callers. Connections still lent are closed, with an event each, as they come back."""

    name: ClassVar[str] = "on_pool_closed"


@dataclass(slots=True, eq=False)
class AcquireStarted(Event):
    """A caller asks for a connection. Ends in `Acquired` or `AcquireFailed`, in the same task and context.

    Attributes:
        acquire_id: numbers the acquires of this pool from 1.
    """

    name: ClassVar[str] = "on_acquire_started"
    acquire_id: int


@dataclass(slots=True, eq=False)
class AcquireQueued(Event):
    """The caller has to wait: for a connection of its own that is being made, or for one that comes back.

    Attributes:
        acquire_id: as in `AcquireStarted`.
        waiting: callers in the queue, this one included.
        creating: True where there is room to make a connection for this caller, so the pool starts doing so at once.
    """

    name: ClassVar[str] = "on_acquire_queued"
    acquire_id: int
    waiting: int
    creating: bool


@dataclass(slots=True, eq=False)
class Acquired(Event):
    """The caller has its connection. Ends in `Released`.

    Attributes:
        acquire_id: as in `AcquireStarted`.
        connection_id: numbers the connections of this pool from 1.
        wait: seconds from `AcquireStarted` to here.
        source: `idle`, `new` or `handoff`.
    """

    name: ClassVar[str] = "on_acquired"
    acquire_id: int
    connection_id: int
    wait: float
    source: Source


@dataclass(slots=True, eq=False)
class AcquireFailed(Event):
    """The caller gave up or was refused.

    Attributes:
        acquire_id: as in `AcquireStarted`.
        wait: seconds from `AcquireStarted` to here.
        reason: `timeout`, `cancelled`, `create_error`, `pool_closed`, `queue_full` or `deadlock`.
        error: what is raised in the caller.
    """

    name: ClassVar[str] = "on_acquire_failed"
    acquire_id: int
    wait: float
    reason: FailReason
    error: BaseException


@dataclass(slots=True, eq=False)
class Released(Event):
    """The body is over and the caller has given its connection up.

    Attributes:
        acquire_id: as in `AcquireStarted`.
        connection_id: as in `Acquired`.
        use: seconds from `Acquired` to here.
        error: what the body raised, or None.
        served: the `acquire_id` of the queued caller that the connection was handed to, or None.
    """

    name: ClassVar[str] = "on_released"
    acquire_id: int
    connection_id: int
    use: float
    error: BaseException | None
    served: int | None


@dataclass(slots=True, eq=False)
class CreateStarted(Event):
    """`create_connection` is about to be called, in this task and context.

    Attributes:
        connection_id: the id that the connection will have.
        acquire_id: the acquire that made the pool grow, or None where the pool keeps `min_size` filled.
        burst: True where this connection takes the total above `max_size`.
    """

    name: ClassVar[str] = "on_create_started"
    connection_id: int
    acquire_id: int | None
    burst: bool


@dataclass(slots=True, eq=False)
class Created(Event):
    """`create_connection` returned. Ends in `Closed`.

    Attributes:
        connection_id: as in `CreateStarted`.
        duration: seconds since `CreateStarted`.
    """

    name: ClassVar[str] = "on_created"
    connection_id: int
    duration: float


@dataclass(slots=True, eq=False)
class CreateFailed(Event):
    """`create_connection` raised.

    Attributes:
        connection_id: as in `CreateStarted`.
        duration: seconds since `CreateStarted`.
        error: what it raised.
    """

    name: ClassVar[str] = "on_create_failed"
    connection_id: int
    duration: float
    error: BaseException


@dataclass(slots=True, eq=False)
class BurstStarted(Event):
    """The total rose above `max_size`.

    Attributes:
        total: connections of every state, those being made included.
        max_size: the soft limit.
        burst_limit: the hard limit.
    """

    name: ClassVar[str] = "on_burst_started"
    total: int
    max_size: int
    burst_limit: int


@dataclass(slots=True, eq=False)
class BurstLimitReached(Event):
    """A caller has to queue because the burst has met the hard limit; once in a burst.

    Attributes:
        total, max_size, burst_limit: as in `BurstStarted`.
    """

    name: ClassVar[str] = "on_burst_limit_reached"
    total: int
    max_size: int
    burst_limit: int


@dataclass(slots=True, eq=False)
class BurstEnded(Event):
    """The total is back at `max_size`.

    Attributes:
        total, max_size, burst_limit: as in `BurstStarted`.
        duration: seconds since `BurstStarted`.
        peak: the highest total of the burst.
    """

    name: ClassVar[str] = "on_burst_ended"
    total: int
    max_size: int
    burst_limit: int
    duration: float
    peak: int


@dataclass(slots=True, eq=False)
class Shrink(Event):
    """A burst connection is given up. `Closed` follows when it is gone.

    Attributes:
        connection_id: as in `CreateStarted`.
        total: connections of every state, this one, now closing, included.
    """

    name: ClassVar[str] = "on_shrink"
    connection_id: int
    total: int


@dataclass(slots=True, eq=False)
class Closed(Event):
    """A connection left the pool, well or badly: after a failure, `CloseError` came before.

    Attributes:
        connection_id: as in `CreateStarted`.
        reason: `shrink`, `idle`, `lifetime`, `stale`, `dirty`, `cleared` or `pool_closed`.
        age: seconds since it was created.
    """

    name: ClassVar[str] = "on_closed"
    connection_id: int
    reason: CloseReason
    age: float


@dataclass(slots=True, eq=False)
class CloseError(Event):
    """`close_connection` or `reset_connection` raised, or overran `close_timeout` (then `error` is a `TimeoutError`).

    Attributes:
        connection_id, reason: as in `Closed`.
        error: what it raised.
    """

    name: ClassVar[str] = "on_close_error"
    connection_id: int
    reason: CloseReason
    error: BaseException


@dataclass(slots=True, eq=False)
class LeakSuspected(Event):
    """A connection has been held for longer than `leak_after`; once a hold.

    Attributes:
        acquire_id, connection_id: as in `Acquired`.
        held: seconds since `Acquired`.
        holder: who holds it, and where that task is now.
    """

    name: ClassVar[str] = "on_leak_suspected"
    acquire_id: int
    connection_id: int
    held: float
    holder: "Holder"


@dataclass(slots=True, eq=False)
class ObserverFailed(Event):
    """A hook of an observer raised an `Exception`. Neither the caller nor the pool noticed.

    Attributes:
        observer: the observer.
        hook: the name of the hook that raised.
        error: what it raised.
    """

    name: ClassVar[str] = "on_observer_failed"
    observer: "Observer"
    hook: str
    error: Exception


class Observer:
    """Base of everything that watches a pool: override the hooks you want, leave the rest.

    A hook is a plain function, called on the event loop in the middle of the pool's work: it must be quick and must
    not block. What it raises goes to `on_observer_failed` and the log, not to the caller. Inside a hook
    `event.pool.stats()` is the state after the change. A hook that is not overridden costs the pool a truth test.
    One observer may watch many pools. The fields of each event are described on its class.

    Attributes:
        waits_only: set it to True, before the observer is added, to be told of `on_acquired` only where the caller had
            queued, of `on_released` only where the connection was handed to a caller who had, and of
            `on_acquire_started` never. Then an acquire that finds a connection idle costs no more than unobserved.
    """

    waits_only: bool = False

    def attached(self, pool: "ConnectionPool[Any]") -> None:
        """Called once when this observer is added to `pool`, before any event; what it raises refuses it."""

    def detached(self, pool: "ConnectionPool[Any]") -> None:
        """Called once when this observer is removed from `pool`."""

    def on_pool_opened(self, event: PoolOpened) -> None: ...
    def on_pool_cleared(self, event: PoolCleared) -> None: ...
    def on_pool_closed(self, event: PoolClosed) -> None: ...
    def on_acquire_started(self, event: AcquireStarted) -> None: ...
    def on_acquire_queued(self, event: AcquireQueued) -> None: ...
    def on_acquired(self, event: Acquired) -> None: ...
    def on_acquire_failed(self, event: AcquireFailed) -> None: ...
    def on_released(self, event: Released) -> None: ...
    def on_create_started(self, event: CreateStarted) -> None: ...
    def on_created(self, event: Created) -> None: ...
    def on_create_failed(self, event: CreateFailed) -> None: ...
    def on_burst_started(self, event: BurstStarted) -> None: ...
    def on_burst_limit_reached(self, event: BurstLimitReached) -> None: ...
    def on_burst_ended(self, event: BurstEnded) -> None: ...
    def on_shrink(self, event: Shrink) -> None: ...
    def on_closed(self, event: Closed) -> None: ...
    def on_close_error(self, event: CloseError) -> None: ...
    def on_leak_suspected(self, event: LeakSuspected) -> None: ...
    def on_observer_failed(self, event: ObserverFailed) -> None: ...

    def on_event(self, event: Event) -> None:
        """Every one of the above, after the hook of its own."""
