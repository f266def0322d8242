"""The pool, in the order a connection lives: acquired, made, used, released, closed.

Why there is no lock: every change of state below is a plain function, so no other task can run in the middle of one.
An `await` stands only where nothing is half done: before a connection is taken or after it has its new owner.

A slot is a place in the pool from the decision to connect until the connection is gone. It has one owner and with it
one state, and the states are counted by looking at the owners:

    creating   a task of the pool's, in `_creating`
    idle       the pool itself, in `_idle`
    in_use     a lease, from the moment it is woken until its body is over and what it gives back is reset; or, for
               a check of what lay idle, a task of the pool's, in `_checking`
    closing    the pool itself or a task of its own, in `_closing`

Every function that frees room ends in `_grow`, every connection that loses its owner passes through `_place`, and every
end of a connection through `_gone`.
"""

import asyncio
import inspect
import random
import sys
import warnings
import weakref
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Awaitable, Iterable
from contextvars import Context, copy_context
from copy import copy
from functools import partial
from math import inf
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Final, Generic, Literal, TypeAlias, cast

from . import _check, _events
from ._bus import Bus, Listeners
from ._deadlock import in_vain
from ._errands import Errands, Then
from ._errors import (
    PoolClosedError,
    PoolDeadlockError,
    PoolError,
    PoolLoopError,
    PoolQueueFullError,
    PoolTimeoutError,
)
from ._events import CloseReason, FailReason, Observer, Source
from ._holders import where_is
from ._stats import Distribution, Distributions, Holder, PoolStats, Tally
from ._strategy import Conn, ConnectionStrategy
from .metrics import Attributes, check_attributes
from .redaction import describe_error

if sys.version_info >= (3, 12):
    _task_on = asyncio.current_task
else:  # there `current_task` is a Python function around this very look-up, which costs twice as much
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]

    _task_on = _current_tasks.get

_Task: TypeAlias = "asyncio.Task[Any]"

_UNBOUND = cast(asyncio.AbstractEventLoop, object())  # no task runs on it, so the first use leaves the fast path
_DEFAULT: Final = cast(float, object())
_BACKOFF, _BACKOFF_MAX = 0.01, 1.0  # seconds
_RESETTING = ("reset_connection, after the body",)  # its task may be anywhere by now, or gone
_SUSPENSE = 0.01  # seconds from the queueing that may have closed a deadlock until that is looked into


class _Slot(Generic[Conn]):
    __slots__ = (
        "burst",
        "checked_at",
        "close_error",
        "conn",
        "connection_id",
        "created_at",
        "doomed",
        "expires_at",
        "idle_since",
        "leak_told",
        "lease",
        "reset_failed",
        "settled",
    )

    burst: bool
    conn: Conn
    close_error: BaseException | None
    created_at: float
    doomed: CloseReason | None  # why it must not be lent again, once that is known
    lease: "_Lease[Conn] | None"
    settled: "asyncio.Future[None] | None"  # for the exit that waits for the close

    def __init__(self, connection_id: int) -> None:
        self.connection_id = connection_id
        self.close_error = self.doomed = self.lease = self.settled = None
        self.expires_at = inf
        self.idle_since = self.checked_at = 0.0
        self.leak_told = 0  # the acquire whose hold was reported
        self.reset_failed = False


_QUEUED: Any = _Slot(0)  # what a caller has while it is in the queue
_QUEUED.doomed = "pool_closed"  # off the plain way out, should somebody leave without having entered


class _Lease(Generic[Conn]):
    """What `get_connection()` returns: one acquire, from asking to giving back."""

    __slots__ = (
        "_pool",
        "_slot",
        "_timeout",
        "acquire_id",
        "asked",
        "context",
        "creation",
        "deadline",
        "failure",
        "future",
        "since",
        "source",
        "task",
        "timer",
    )

    # Set by get_connection().
    _pool: "ConnectionPool[Conn]"
    _slot: "_Slot[Conn] | None"
    _timeout: float  # seconds, inf for no limit

    # Set on entering.
    acquire_id: int
    since: float  # when it asked, and from then on when it was given its connection
    task: "_Task | None"

    # Set where no connection is at hand, and read only of such leases.
    asked: float  # when it asked
    context: Context
    creation: "_Slot[Conn] | None"  # the one that is being made because this caller asked
    deadline: float
    failure: tuple[BaseException, FailReason] | None
    future: "asyncio.Future[None]"
    source: Source
    timer: asyncio.TimerHandle | None  # only where the deadline is out of the queue's order

    async def __aenter__(self) -> Conn:
        pool = self._pool
        task: _Task | None = _task_on(pool._loop)
        if task is None or get_ident() != pool._thread:
            task = pool._bind()
        if self._slot is not None:
            raise self._misused("is running already; call get_connection() again")
        self.task = task
        pool._acquires = self.acquire_id = pool._acquires + 1
        self.since = monotonic()
        slot = None
        if at_hand := pool._at_hand:
            slot = at_hand.pop()
            try:
                dead = pool._is_closed(slot.conn)
            except BaseException as error:
                dead = True
                pool._note_escape(error)
            if not dead:
                self._slot = slot
                slot.lease = self
                return slot.conn
        found = pool._ask(self, slot)
        if found is None:
            try:
                await self.future
            except BaseException as error:  # cancelled, or closed as a generator
                pool._give_up(self, error)
                raise
            found = pool._served(self)
        return found.conn

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        slot = self._slot
        pool = self._pool
        if slot is None:
            raise self._misused("holds no connection, or gave it back already")
        self._slot = None
        if error is None and not pool._waiters and not pool._attentive and slot.doomed is None:
            slot.lease = None
            pool._idle.append(slot)
            if pool._distributions is not None:
                pool._distributions.use.record(monotonic() - self.since)
            return
        if error is not None:
            pool._judge(slot, error)
        if pool._resets and (reset := pool._reset(self, slot, error)) is not None:
            if error is not None and not isinstance(error, Exception):  # it goes on in the pool's task
                reset.cancel()
                return
            closes = await reset
        else:
            closes = pool._release(self, slot, error)
        if closes:
            await pool._close_of(slot, error)

    def _misused(self, how: str) -> RuntimeError:
        return RuntimeError(f"pool {self._pool.name!r}: this acquire {how}")


class ConnectionPool(Generic[Conn]):
    """A pool of anything, without locks, that can say why a request waited and who holds the connections.

    Up to `max_size` connections are kept. While callers queue, the pool grows further, up to `burst_limit`, and
    gives the surplus up when nobody waits any more. Callers are served first in, first out.

    Not thread-safe: it is bound to the event loop of its first use. Building it needs no running loop.

    Args:
        strategy: how connections are made, checked and closed.
        max_size: the soft limit, in connections; what lies idle never exceeds it.
        burst_limit: the hard limit, in connections; None means `max_size`.
        name: tells this pool from others in messages and telemetry.
        min_size: connections kept ready from `open()` or the first use on.
        acquire_timeout: seconds a caller waits at most; None waits for ever.
        max_waiting: how many callers may queue beyond those for whom a connection is being made; None is no limit.
        max_connecting: how many connections are made at a time at most; None is no limit.
        max_lifetime: seconds after which a connection is replaced, shortened at random by up to 10 %, so that those
            made together do not end together.
        idle_timeout: seconds after which an idle connection is closed, down to `min_size`.
        close_timeout: seconds an asynchronous `close_connection` may take, and a reset or a check of a connection.
        close_errors: with "raise", leaving the `async with` waits for a close it causes and raises its error; with
            "observe" the exit does not wait, and observers alone are told.
        leak_after: seconds after which a hold is reported to `on_leak_suspected`; None never.
        observers: who is told of events, in this order.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of range; the message names it and its value.
    """

    # Not for the memory: an instance without them holds no more than 30 attributes that CPython finds as fast.
    __slots__ = (
        "__weakref__",
        "_acquire_timeout",
        "_acquires",
        "_ages",
        "_at_hand",
        "_at_once_before",
        "_attentive",
        "_attributes",
        "_burst_limit",
        "_burst_limit_told",
        "_burst_peak",
        "_burst_started",
        "_bus",
        "_check_after",
        "_checking",
        "_close_errors",
        "_close_timeout",
        "_closed",
        "_closing",
        "_connections",
        "_creating",
        "_dead_arrivals",
        "_distributions",
        "_due",
        "_empty",
        "_errands",
        "_filled",
        "_growing",
        "_idle",
        "_idle_timeout",
        "_is_closed",
        "_last_create_error",
        "_last_deadline",
        "_leak_after",
        "_limit",
        "_loop",
        "_max_connecting",
        "_max_lifetime",
        "_max_size",
        "_max_waiting",
        "_min_size",
        "_most_at_once",
        "_name",
        "_not_at_hand",
        "_refill_at",
        "_refill_errors",
        "_resets",
        "_retry_at",
        "_slots",
        "_strategy",
        "_suspecting",
        "_tally",
        "_thread",
        "_timer",
        "_waiters",
    )

    def __init__(
        self,
        *,
        strategy: ConnectionStrategy[Conn],
        max_size: int,
        burst_limit: int | None = None,
        name: str = "pool",
        min_size: int = 0,
        acquire_timeout: float | None = 30.0,
        max_waiting: int | None = None,
        max_connecting: int | None = None,
        max_lifetime: float | None = None,
        idle_timeout: float | None = None,
        close_timeout: float = 5.0,
        close_errors: Literal["raise", "observe"] = "raise",
        leak_after: float | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._name = _check.name(name)
        self._strategy = _check.strategy(strategy)
        self._attributes = check_attributes(strategy.attributes)
        self._check_after = _check.check_after(strategy)
        self._min_size, self._max_size, self._burst_limit = _check.sizes(min_size, max_size, burst_limit)
        self._limit = burst_limit or max_size  # the hard one, whichever that is
        self._acquire_timeout = _check.wait("acquire_timeout", acquire_timeout)
        self._max_waiting = _check.count("max_waiting", max_waiting, least=0)
        self._max_connecting = _check.count("max_connecting", max_connecting, least=1) or inf
        self._max_lifetime = _check.seconds("max_lifetime", max_lifetime, zero=False)
        self._idle_timeout = _check.seconds("idle_timeout", idle_timeout, zero=False)
        self._close_timeout = _check.seconds("close_timeout", close_timeout, zero=False, none=False)
        self._close_errors = _check.choice("close_errors", close_errors, ("raise", "observe"))
        self._leak_after = _check.seconds("leak_after", leak_after, zero=False)
        observers = _check.observers(observers)

        self._slots: set[_Slot[Conn]] = set()
        self._closed = False
        self._loop = _UNBOUND
        self._thread = 0
        self._is_closed = strategy.connection_is_closed
        self._resets = _check.overrides(strategy, "reset_connection")
        self._idle: deque[_Slot[Conn]] = deque()  # the longest idle first; lent from the other end
        self._creating: dict[_Slot[Conn], _Task | None] = {}
        self._checking: dict[_Slot[Conn], asyncio.Future[None]] = {}
        self._closing: set[_Slot[Conn]] = set()
        self._waiters: OrderedDict[_Lease[Conn], None] = OrderedDict()
        self._last_deadline = -inf
        self._suspecting = False  # of a deadlock
        self._growing = False

        self._burst_started = 0.0
        self._burst_peak = 0  # 0 while there is no burst
        self._burst_limit_told = False

        self._ages = max_lifetime is not None or idle_timeout is not None
        self._at_hand = self._idle  # what is lent with no more than a check: all that is idle, or nothing; see _look
        self._attentive = False  # whether a return has more to do than to lie down; see _look
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf  # when the timer fires; of no timer, never
        self._retry_at = -inf  # no creation before, after a connection arrived dead
        self._dead_arrivals = 0
        self._refill_at = -inf  # no creation for min_size before, after one failed
        self._refill_errors = 0
        self._filled: asyncio.Future[BaseException | None] | None = None
        self._empty: asyncio.Event | None = None

        self._acquires = self._connections = 0
        self._not_at_hand = 0  # acquires that went through _acquire
        self._most_at_once = 0
        self._last_create_error: BaseException | None = None
        self._tally = Tally()
        self._distributions: Distributions | None = None
        self._at_once_before = 0  # plainest acquires before there were distributions
        self._bus = Bus(self._name)
        self._errands = Errands(f"pool {self._name!r}", self._close_timeout, self._bus)
        for observer in observers:
            self._bus.add(observer, self)
        self._look()

    # ------------------------------------------------------------------ what a user calls

    @property
    def name(self) -> str:
        """The pool's name in messages and telemetry."""
        return self._name

    @property
    def attributes(self) -> Attributes:
        """What the strategy says of the server, for exporters: `server.address` and the like."""
        return self._attributes

    @property
    def min_size(self) -> int:
        """Connections kept ready."""
        return self._min_size

    @property
    def max_size(self) -> int:
        """The soft limit. Settable: raised, it serves the queue; lowered, it closes what lies idle above it."""
        return self._max_size

    @max_size.setter
    def max_size(self, value: int) -> None:
        self._resize(value, self._burst_limit)

    @property
    def burst_limit(self) -> int | None:
        """The hard limit, None where `max_size` is. Settable; lowered, it lets what is lent return first."""
        return self._burst_limit

    @burst_limit.setter
    def burst_limit(self, value: int | None) -> None:
        self._resize(self._max_size, value)

    def get_connection(self, *, timeout: float | None = _DEFAULT) -> _Lease[Conn]:
        """Borrow a connection: `async with pool.get_connection() as conn:`.

        With a connection idle, entering does not yield to the event loop.

        Args:
            timeout: seconds to wait at most, instead of the pool's `acquire_timeout`; None waits for ever.

        Raises:
            ValueError: `timeout` is negative.
            PoolTimeoutError: on entering: no connection came free in time.
            PoolClosedError: on entering: the pool is closed.
            PoolQueueFullError: on entering: `max_waiting` callers are queued.
            PoolLoopError: on entering: the pool belongs to another event loop.
            Exception: on entering, what `create_connection` raised for this caller; on leaving, what
                `close_connection` raised, unless the body failed.
        """
        seconds = self._acquire_timeout if timeout is _DEFAULT else _check.wait("timeout", timeout)
        lease: _Lease[Conn] = _Lease()  # an __init__ would cost a tenth of an idle acquire
        lease._pool = self
        lease._slot = None
        lease._timeout = seconds
        return lease

    async def open(self) -> None:
        """Bind the pool to the running event loop and wait until `min_size` connections are there.

        Raises:
            PoolClosedError: the pool was closed.
            PoolLoopError: it is bound to another event loop.
            PoolError: a connection could not be made; the error is its `__cause__`. The pool stays usable and goes
                on trying.
        """
        self._bind()
        if self._closed:
            raise self._closed_error()
        if self._ready() >= self._min_size:
            return
        if self._filled is None:
            self._filled = self._loop.create_future()
        filled = self._filled  # before growing, for an eager creation may end it at once
        self._grow()
        self._bus.raise_escaped()
        await asyncio.wait({filled})
        error = filled.result()
        if isinstance(error, PoolClosedError):
            raise error
        if error is not None:
            raise PoolError(
                f"pool {self._name!r}: opened {self._ready()} of min_size={self._min_size} connections: "
                f"{describe_error(error)}"
            ) from error

    async def close(self, *, timeout: float | None = 10.0) -> None:
        """Refuse new callers, wake those queued with `PoolClosedError`, close every connection.

        Waits for connections that are lent; what returns after the deadline is closed as it comes. Calling it again
        only waits again.

        Args:
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            PoolTimeoutError: the deadline passed; the message and `.holders` name who still holds. The pool is
                closed all the same.
            PoolLoopError: the pool belongs to another event loop.
        """
        timeout = _check.seconds("timeout", timeout)
        if self._loop is not _UNBOUND:
            self._bind()
        self._stop()
        if self._slots:
            if self._empty is None:
                self._empty = asyncio.Event()
            try:
                async with asyncio.timeout(timeout):
                    await self._empty.wait()
            except TimeoutError:
                raise self._timeout_error(f"not all connections came back within {timeout:.3f} s of close()") from None

    async def __aenter__(self) -> "ConnectionPool[Conn]":
        try:
            await self.open()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit):  # thrown away in the middle: nothing can be awaited any more
            self._stop()
            return
        try:
            await self.close()
        except PoolTimeoutError as late:
            if error is None:
                raise
            error.add_note(str(late))

    def clear(self) -> None:
        """Replace every connection: idle ones are closed now, lent ones when they come back. Callers do not notice.

        Raises:
            PoolLoopError: called from outside the pool's event loop.
        """
        if self._closed or all(slot.doomed is not None or slot in self._closing for slot in self._slots):
            return
        self._bind()
        idle = self._doom("cleared")
        if self._bus.on_pool_cleared:
            self._bus.emit(self._bus.on_pool_cleared, _events.PoolCleared(self, monotonic()))
        for slot in idle:
            self._close(slot, "cleared")
        self._grow()
        self._bus.raise_escaped()

    def stats(self) -> PoolStats:
        """The pool's counts at this moment. May be called from any thread: exporters collect in one of their own."""
        tally, kept, now = self._tally, self._distributions, monotonic()
        holds = [now - lease.since for slot in tuple(self._slots) if (lease := slot.lease) is not None]
        return PoolStats(
            name=self._name,
            min_size=self._min_size,
            max_size=self._max_size,
            burst_limit=self._burst_limit,
            creating=len(self._creating),
            idle=len(self._idle),
            in_use=max(0, self._in_use()),  # another thread may look while a slot is changing hands
            closing=len(self._closing),
            waiting=len(self._waiters),
            acquires=self._acquires,
            acquired={**tally.acquired, "idle": tally.acquired["idle"] + self._at_once()},
            failed=dict(tally.failed),
            created=tally.created,
            create_errors=tally.create_errors,
            closed=dict(tally.closed),
            close_errors=tally.close_errors,
            bursts=tally.bursts,
            leaks_suspected=tally.leaks_suspected,
            observer_errors=self._bus.errors,
            observer_seconds=self._bus.seconds(),
            oldest_hold=max(holds, default=0.0),
            wait=None if kept is None else self._waits(kept),
            use=None if kept is None else kept.use.snapshot(),
            create=None if kept is None else kept.create.snapshot(),
        )

    def _ready(self) -> int:
        return len(self._slots) - len(self._creating) - len(self._closing)

    def _in_use(self) -> int:
        return self._ready() - len(self._idle)

    def _at_once(self) -> int:
        """How many acquires were of the plainest; what another thread reads amid an acquire must not fall later."""
        self._most_at_once = max(self._most_at_once, self._acquires - self._not_at_hand)
        return self._most_at_once

    def _waits(self, kept: Distributions) -> Distribution:
        """What was recorded, and the plainest acquires, which waited for nothing."""
        return kept.wait.snapshot(self._at_once() - self._at_once_before)

    def keep_distributions(self) -> None:
        """From now on keep the distributions of wait, use and create seconds, which `stats()` then carries."""
        if self._distributions is None:
            self._distributions = Distributions()
            self._at_once_before = self._at_once()

    def holders(self) -> tuple[Holder, ...]:
        """Who has connections, the longest hold first, and where each of those tasks is now."""
        now = monotonic()
        leases = [(lease, slot) for slot in tuple(self._slots) if (lease := slot.lease) is not None]
        leases.sort(key=lambda pair: pair[0].since)
        return tuple(_holder(lease, slot, now) for lease, slot in leases)

    def add_observer(self, observer: Observer) -> None:
        """Tell `observer` of events from now on, after those that are there.

        Raises:
            TypeError: it is no `Observer`, or has a hook that is misspelt or an `async def`.
            ValueError: it observes this pool already.
        """
        self._bus.add(observer, self)
        self._look()

    def remove_observer(self, observer: Observer) -> None:
        """Tell `observer` nothing more.

        Raises:
            ValueError: it does not observe this pool.
        """
        self._bus.remove(observer, self)
        self._look()

    def __repr__(self) -> str:
        idle, in_use, waiting = len(self._idle), self._in_use(), len(self._waiters)
        burst = "" if self._burst_limit is None else f" burst={self._burst_limit}"
        closed = " closed" if self._closed else ""
        return (
            f"<ConnectionPool {self._name!r} idle={idle} in_use={in_use} waiting={waiting}"
            f" max={self._max_size}{burst}{closed}>"
        )

    def __del__(self) -> None:
        closed = getattr(self, "_closed", True)  # a pool whose arguments were refused has nothing to close
        if not closed and self._slots:
            warnings.warn(f"{self!r} was never closed; await its close()", ResourceWarning, source=self, stacklevel=2)

    # ------------------------------------------------------------------ acquire

    def _bind(self) -> "_Task | None":
        """Bind the pool to the running loop, or refuse any other than the one it is bound to."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise PoolLoopError(f"pool {self._name!r} is used from outside any event loop") from None
        if self._loop is _UNBOUND:
            self._loop, self._thread = loop, get_ident()
            if self._bus.on_pool_opened and not self._closed:
                self._bus.emit(self._bus.on_pool_opened, _events.PoolOpened(self, monotonic()))
            self._grow()
            self._bus.raise_escaped()
        elif loop is not self._loop:
            raise PoolLoopError(
                f"pool {self._name!r} was first used on {self._loop!r} and belongs to it; this is {loop!r}. "
                "Build one pool per event loop"
            )
        self._thread = get_ident()  # a loop may be run by another thread than before
        return asyncio.current_task()

    def _note_escape(self, error: BaseException) -> None:
        """What the strategy raised and is no `Exception` is raised on, once the state is whole."""
        if not isinstance(error, Exception):
            self._bus.escape(error)

    def _too_old(self, slot: _Slot[Conn], now: float) -> CloseReason | None:
        if slot.expires_at <= now:
            return "lifetime"
        if self._idle_timeout is not None and slot.idle_since + self._idle_timeout <= now and self._spare():
            return "idle"
        return None

    def _unfit(self, slot: _Slot[Conn], now: float) -> CloseReason | None:
        """Why `slot` must not be handed over, or None."""
        if slot.expires_at <= now:
            return "lifetime"
        try:
            return "stale" if self._is_closed(slot.conn) else None
        except BaseException as error:
            self._note_escape(error)
            return "stale"

    def _discard(self, slot: _Slot[Conn], reason: CloseReason) -> None:
        """Close a slot that has no owner any more."""
        self._closing.add(slot)
        self._close(slot, reason)

    def _ask(self, lease: _Lease[Conn], stale: _Slot[Conn] | None) -> _Slot[Conn] | None:
        """Every acquire but the plainest: return what is idle, or None with a place in the queue and a future to await.

        The connection that was at hand may have proved to be `stale`.

        One long function, for each call less makes a contended pool faster by a hundredth.
        """
        self._not_at_hand += 1
        if stale is not None:
            self._discard(stale, "stale")
            lease.since = monotonic()  # what comes after the close is told with a later time
        bus, waiters = self._bus, self._waiters
        lease.asked = asked = lease.since
        lease.creation = lease.failure = lease.timer = None
        if bus.on_acquire_started:
            bus.emit(bus.on_acquire_started, _events.AcquireStarted(self, asked, lease.acquire_id))
        try:
            slot = self._take_idle(lease) if self._idle else None
            if slot is None and bus.escaped is None:
                if self._closed:
                    raise self._closed_error()
                lease._slot = _QUEUED
                lease.future = self._loop.create_future()
                lease.context = copy_context()
                waiters[lease] = None
                creating = len(self._slots) < self._limit and self._may_create(asked)
                if self._max_waiting is not None and not creating and self._excess() > self._max_waiting:
                    del waiters[lease]
                    raise self._full_error()
                lease.deadline = deadline = asked + lease._timeout
                if deadline >= self._last_deadline or len(waiters) == 1:
                    self._last_deadline = deadline
                    if deadline < self._due:
                        self._arm(deadline)
                else:  # the one timer ends the waits whose deadlines ascend along the queue, which nearly all do
                    lease.timer = self._loop.call_later(deadline - monotonic(), self._expire, lease)
                if bus.on_acquire_queued:
                    queued = _events.AcquireQueued(self, lease.since, lease.acquire_id, len(waiters), creating)
                    bus.emit(bus.on_acquire_queued, queued)
                    lease.context = copy_context()  # again: a hook may have made a span current
                if creating or self._dead_arrivals:
                    self._grow()
                else:
                    if self._burst_peak:
                        self._note_limit()
                    if not self._suspecting:
                        self._suspect_deadlock()
            if bus.escaped is not None:
                bus.raise_escaped()
        except BaseException as error:  # refused
            self._give_up(lease, error)
            raise
        if slot is not None:
            self._lend(lease, slot)
        return slot

    def _take_idle(self, lease: _Lease[Conn]) -> _Slot[Conn] | None:
        while self._idle and self._bus.escaped is None:
            slot = self._idle.pop()
            reason = (self._too_old(slot, lease.since) if self._ages else None) or self._unfit(slot, lease.since)
            if reason is None:
                return slot
            self._discard(slot, reason)
            lease.since = monotonic()  # what comes after the close is told with a later time
        return None

    def _lend(self, lease: _Lease[Conn], slot: _Slot[Conn]) -> None:
        """Give what lay idle to `lease`."""
        lease._slot, lease.source = slot, "idle"
        slot.lease = lease
        self._tally.acquired["idle"] += 1
        if self._distributions is not None:
            self._distributions.wait.record(lease.since - lease.asked)
        if self._bus.on_acquired_at_once:
            self._tell_acquired(self._bus.on_acquired_at_once, lease, slot)

    def _served(self, lease: _Lease[Conn]) -> _Slot[Conn]:
        """The connection that ended the wait of `lease`; raises what ended it otherwise."""
        if lease.timer is not None:
            lease.timer.cancel()
        if lease.failure is not None:
            error, reason = lease.failure
            self._acquire_failed(lease, error, reason)
            raise error
        slot = lease._slot
        assert slot is not None
        self._tally.acquired[lease.source] += 1
        if self._distributions is not None or self._bus.on_acquired:
            lease.since = monotonic()  # until now it was when the connection was handed over
            if self._distributions is not None:
                self._distributions.wait.record(lease.since - lease.asked)
            if self._bus.on_acquired:
                self._tell_acquired(self._bus.on_acquired, lease, slot)
        return slot

    def _give_up(self, lease: _Lease[Conn], error: BaseException) -> None:
        self._leave(lease)
        self._acquire_failed(lease, error, _reason_of(error))

    def _tell_acquired(self, listeners: Listeners, lease: _Lease[Conn], slot: _Slot[Conn]) -> None:
        bus, wait = self._bus, lease.since - lease.asked
        acquired = _events.Acquired(self, lease.since, lease.acquire_id, slot.connection_id, wait, lease.source)
        bus.emit(listeners, acquired)
        if bus.escaped is not None:  # the body will not run, so nobody else would give it back
            lease._slot = None
            self._release(lease, slot, None)

    def _acquire_failed(self, lease: _Lease[Conn], error: BaseException, reason: FailReason) -> None:
        self._tally.failed[reason] += 1
        if self._bus.on_acquire_failed:
            now = monotonic()
            failed = _events.AcquireFailed(self, now, lease.acquire_id, now - lease.asked, reason, error)
            self._bus.emit(self._bus.on_acquire_failed, failed)
        self._bus.raise_escaped()

    # ------------------------------------------------------------------ the queue

    def _excess(self) -> int:
        """Callers queued beyond those for whom a connection is being made."""
        return len(self._waiters) - len(self._creating)

    def _suspect_deadlock(self) -> None:
        """A caller was queued, or a slot lost: look in a moment, when all who run now are suspended."""
        if not self._loop.is_closed():
            self._suspecting = True
            self._arm(monotonic() + _SUSPENSE)

    def _end_deadlock(self, now: float) -> None:
        self._suspecting = False
        if len(self._slots) < self._limit:
            return
        lease = in_vain((slot.lease for slot in self._slots), self._waiters, now)
        if lease is not None:
            self._fail(lease, self._deadlock_error(), "deadlock")

    def _expire(self, lease: _Lease[Conn]) -> None:
        if lease in self._waiters:
            self._fail(lease, self._timeout_error(_no_connection(lease)), "timeout")

    def _fail(self, lease: _Lease[Conn], error: BaseException, reason: FailReason) -> None:
        """End the wait of a queued caller with `error`, which is raised when that caller runs."""
        del self._waiters[lease]
        lease._slot = None
        lease.failure = error, reason
        if not lease.future.done() and not self._loop.is_closed():
            lease.future.set_result(None)

    def _leave(self, lease: _Lease[Conn]) -> None:
        """Take a caller that was cancelled out of the queue, or pass on the connection it was given already."""
        slot, lease._slot = lease._slot, None
        if slot is None:
            return
        if lease.timer is not None:
            lease.timer.cancel()
        if slot is _QUEUED:
            self._waiters.pop(lease, None)
        else:
            reason = self._place(slot, lease.source, monotonic())
            if reason is not None:
                self._close(slot, reason)

    # ------------------------------------------------------------------ growth

    def _may_create(self, now: float) -> bool:
        """Whether there are more callers than creations, and room for one more connection."""
        return (
            len(self._slots) < self._limit
            and len(self._creating) < len(self._waiters)
            and len(self._creating) < self._max_connecting
            and self._retry_at <= now
        )

    def _may_fill(self, now: float) -> bool:
        """Whether a connection for `min_size` is missing and may be made now."""
        return (
            len(self._slots) < self._min_size
            and not self._closed
            and len(self._creating) < self._max_connecting
            and max(self._retry_at, self._refill_at) <= now
        )

    def _grow(self) -> None:
        """Create what is missing. Called wherever room or demand may have changed."""
        if self._growing or self._loop.is_closed():  # a creation that ends at once comes back here: let the loop go on
            return
        self._growing = True
        now = monotonic()  # once: what is too early for the loops below must be so for _arm_retry, too
        try:
            while self._may_create(now) and (asker := self._next_asker()) is not None:
                self._start_creating(asker, asker.context.copy())  # an eager task enters it within that of the last
            while self._may_fill(now):
                self._start_creating(None, copy_context())
        finally:
            self._growing = False
        self._note_limit()
        if self._dead_arrivals or self._refill_errors:
            self._arm_retry(now)

    def _arm_retry(self, now: float) -> None:
        """After a failure, see that what is still missing is tried again even if nothing else happens."""
        refill_at = max(self._retry_at, self._refill_at)
        if self._waiters and self._retry_at > now:
            self._arm(self._retry_at)
        if len(self._slots) < self._min_size and not self._closed and refill_at > now:
            self._arm(refill_at)

    def _next_asker(self) -> _Lease[Conn] | None:
        """The first caller for whom no connection is being made; at most as many as are being made stand before it."""
        return next((w for w in self._waiters if w.creation is None and not w.future.done()), None)

    def _start_creating(self, asker: _Lease[Conn] | None, context: Context) -> None:
        self._connections += 1
        slot: _Slot[Conn] = _Slot(self._connections)
        self._slots.add(slot)
        self._creating[slot] = None
        slot.burst = len(self._slots) > self._max_size
        if asker is not None:
            asker.creation = slot
        self._note_burst()
        name, creation = f"pool {self._name!r}: create connection {slot.connection_id}", self._create(slot, asker)
        try:
            task = self._loop.create_task(creation, name=name, context=context)
        except (KeyboardInterrupt, SystemExit) as error:  # out of an eager task, which has ended with it
            self._bus.escape(error)
            return
        except Exception as error:  # of a task factory of the user's: one that takes no context, say
            creation.close()
            self._never_created(slot, asker, error)
            return
        if slot in self._creating:  # an eager task may have ended already
            self._creating[slot] = task
            task.add_done_callback(partial(self._creation_ended, slot, asker))

    async def _create(self, slot: _Slot[Conn], asker: _Lease[Conn] | None) -> None:
        """Make the connection of `slot`. Belongs to the pool: the caller that asked may be gone before it ends."""
        bus, started = self._bus, monotonic()
        try:
            if bus.on_create_started:
                asked_by = None if asker is None else asker.acquire_id
                bus.emit(
                    bus.on_create_started,
                    _events.CreateStarted(self, started, slot.connection_id, asked_by, slot.burst),
                )
                bus.raise_escaped()
            conn = await self._strategy.create_connection()
        except BaseException as error:
            self._create_failed(slot, asker, error, started)
            bus.raise_escaped()
            if not isinstance(error, Exception):
                raise
        else:
            self._created(slot, asker, conn, started)
            bus.raise_escaped()

    def _created(self, slot: _Slot[Conn], asker: _Lease[Conn] | None, conn: Conn, started: float) -> None:
        now = monotonic()
        self._end_creation(slot, asker)
        slot.conn, slot.created_at = conn, now
        if self._max_lifetime is not None:
            slot.expires_at = now + self._max_lifetime * (1 - 0.1 * random.random())
        self._tally.created += 1
        self._last_create_error = None
        if self._distributions is not None:
            self._distributions.create.record(now - started)
        reason = self._place(slot, "new", now)
        if self._bus.on_created:
            self._bus.emit(self._bus.on_created, _events.Created(self, now, slot.connection_id, now - started))
        if reason == "stale":
            self._back_off(now)
        else:
            self._dead_arrivals = self._refill_errors = 0
            self._retry_at = self._refill_at = -inf
        if reason is not None:
            self._close(slot, reason)
        self._schedule(now)
        self._grow()
        self._tell_filled(None)

    def _back_off(self, now: float) -> None:
        """A connection arrived dead: the next is not made at once, and each time later."""
        self._last_create_error = PoolError(f"pool {self._name!r}: the connection was closed when it arrived")
        self._retry_at = now + _pause(self._dead_arrivals)
        self._dead_arrivals += 1

    def _create_failed(
        self, slot: _Slot[Conn], asker: _Lease[Conn] | None, error: BaseException, started: float
    ) -> None:
        now = monotonic()
        self._slots.discard(slot)
        self._end_creation(slot, asker)
        self._tally.create_errors += 1
        if not self._closed:  # else it is only our own cancellation
            self._last_create_error = error
        self._fail_asker(asker, error, now)
        if self._bus.on_create_failed:
            failed = _events.CreateFailed(self, now, slot.connection_id, now - started, error)
            self._bus.emit(self._bus.on_create_failed, failed)
        self._after_loss()
        self._tell_filled(error)

    def _fail_asker(self, asker: _Lease[Conn] | None, error: BaseException, now: float) -> None:
        if asker is None:
            self._refill_at = now + _pause(self._refill_errors)
            self._refill_errors += 1
        elif asker in self._waiters:
            if isinstance(error, asyncio.CancelledError):  # of the creation: this caller was not cancelled
                cancelled = PoolError(f"pool {self._name!r}: create_connection was cancelled")
                cancelled.__cause__ = error
                error = cancelled
            self._fail(asker, error, "create_error")

    def _end_creation(self, slot: _Slot[Conn], asker: _Lease[Conn] | None) -> None:
        del self._creating[slot]
        if asker is not None:
            asker.creation = None

    def _creation_ended(self, slot: _Slot[Conn], asker: _Lease[Conn] | None, task: _Task) -> None:
        if slot in self._creating:  # it was cancelled before it began
            self._never_created(slot, asker, asyncio.CancelledError())
            self._bus.raise_escaped()

    def _never_created(self, slot: _Slot[Conn], asker: _Lease[Conn] | None, error: BaseException) -> None:
        """Free the slot of a creation of which nothing ran, so that nobody was told of its beginning."""
        self._slots.discard(slot)
        self._end_creation(slot, asker)
        self._fail_asker(asker, error, monotonic())
        self._after_loss()
        self._tell_filled(error)

    def _tell_filled(self, error: BaseException | None) -> None:
        """Wake `open()` when `min_size` is reached or a connection could not be made."""
        filled = self._filled
        if filled is not None and (error is not None or self._ready() >= self._min_size):
            self._filled = None
            if not self._loop.is_closed():
                filled.set_result(error)

    # ------------------------------------------------------------------ release

    def _place(self, slot: _Slot[Conn], source: Source, now: float) -> CloseReason | None:
        """Give a slot that has lost its owner to the next: the first in the queue, the idle ones, or the closing ones.

        Returns why it is to be closed, in which case it is among the closing already.
        """
        waiters, waiter = self._waiters, None
        while waiters:
            waiter = next(iter(waiters))
            if not waiter.future.done():
                break
            del waiters[waiter]  # it was cancelled and has yet to run
            waiter = None
        reason = slot.doomed
        if reason is None and (waiter is not None or source == "new"):
            reason = self._unfit(slot, now)
        if reason is None:
            allowed = self._max_size if waiter is None else self._limit  # above the hard one only after it was lowered
            if len(self._slots) - len(self._closing) > allowed:
                reason = "shrink"
        slot.lease = waiter if reason is None else None
        if reason is not None:
            self._closing.add(slot)
        elif waiter is not None:
            del waiters[waiter]
            waiter.since = now
            waiter._slot, waiter.source = slot, source
            try:
                waiter.future.set_result(None)
            except RuntimeError:
                if not self._loop.is_closed():  # then nobody will run any more, and what is left is only torn down
                    raise
        else:
            slot.idle_since = now
            self._idle.append(slot)
        return reason

    def _release(self, lease: _Lease[Conn], slot: _Slot[Conn], error: BaseException | None) -> bool:
        """Take a connection back; True where the exit has to see to its close."""
        if slot is _QUEUED:
            lease._slot = slot
            raise lease._misused("holds no connection yet")
        now = monotonic()
        if self._distributions is not None:
            self._distributions.use.record(now - lease.since)
        reason, bus = self._place(slot, "handoff", now), self._bus
        if listeners := bus.on_released_to_nobody if slot.lease is None else bus.on_released:
            served = None if slot.lease is None else slot.lease.acquire_id
            use = now - lease.since
            released = _events.Released(self, now, lease.acquire_id, slot.connection_id, use, error, served)
            bus.emit(listeners, released)
        if reason is not None:
            self._close(slot, reason)
        if bus.escaped is not None:
            bus.raise_escaped()
        if reason is None or reason == "stale" or slot.reset_failed:
            return False
        return self._close_errors == "raise"

    def _judge(self, slot: _Slot[Conn], error: BaseException) -> None:
        """See whether what a failed body gives back may be lent again."""
        if slot.doomed is not None:
            return
        try:
            reusable = self._strategy.connection_is_reusable(slot.conn, error)
        except BaseException as failure:
            self._note_escape(failure)
            error.add_note(f"connection_is_reusable failed too: {describe_error(failure)}")
            reusable = False
        if not reusable:
            slot.doomed = "dirty"

    def _reset(
        self, lease: _Lease[Conn], slot: _Slot[Conn], error: BaseException | None
    ) -> "asyncio.Future[bool] | None":
        """Have a connection reset before it is taken back, and return what `_release` will; None: take it back now."""
        if slot.doomed is not None:
            return None
        pending = None
        try:
            pending = self._strategy.reset_connection(slot.conn)
            if pending is None:
                return None
            returned: asyncio.Future[bool] = self._loop.create_future()
            over = copy(lease)  # what was cancelled here may be entered again before the reset is over
            self._entrust(pending, slot, "reset", partial(self._reset_ended, over, slot, error, returned))
        except BaseException as failure:
            self._never_began(pending, failure)
            self._reset_failed(slot, failure)
            return None
        slot.lease = over
        return returned

    def _reset_ended(
        self,
        lease: _Lease[Conn],
        slot: _Slot[Conn],
        error: BaseException | None,
        returned: "asyncio.Future[bool]",
        failure: BaseException | None,
    ) -> None:
        if failure is not None:
            self._reset_failed(slot, failure)
        try:
            closes = self._release(lease, slot, error)
        except BaseException as escaped:
            if returned.done():  # nobody waits for it any more
                self._bus.escape(escaped)
            else:
                returned.set_exception(escaped)
        else:
            if not returned.done():
                returned.set_result(closes)

    def _reset_failed(self, slot: _Slot[Conn], failure: BaseException) -> None:
        slot.doomed, slot.reset_failed = slot.doomed or "dirty", True
        self._close_failed(slot, "dirty", failure, monotonic())

    async def _close_of(self, slot: _Slot[Conn], error: BaseException | None) -> None:
        """Wait for the close that this exit caused, and raise its error, or note it on the body's.

        A body that was cancelled, or is closed as a generator, does not wait: the close goes on in the pool's task.
        """
        if slot in self._closing:
            if error is not None and not isinstance(error, Exception):
                return
            slot.settled = self._loop.create_future()
            await slot.settled
        failure = slot.close_error
        if isinstance(failure, Exception):
            if error is None:
                raise failure
            error.add_note(f"closing the connection failed too: {describe_error(failure)}")

    # ------------------------------------------------------------------ close of a connection

    def _close(self, slot: _Slot[Conn], reason: CloseReason) -> None:
        """Give a slot among the closing to `close_connection`, in a task of the pool's where that is asynchronous."""
        if reason == "shrink" and self._bus.on_shrink:
            shrink = _events.Shrink(self, monotonic(), slot.connection_id, len(self._slots))
            self._bus.emit(self._bus.on_shrink, shrink)
        pending = None
        try:
            pending = self._strategy.close_connection(slot.conn)
            if inspect.isawaitable(pending):
                self._entrust(pending, slot, "close", partial(self._gone, slot, reason))
                return
        except BaseException as error:
            self._never_began(pending, error)
            self._gone(slot, reason, error)
        else:
            self._gone(slot, reason, None)

    def _gone(self, slot: _Slot[Conn], reason: CloseReason, error: BaseException | None) -> None:
        """Let a closed connection leave the pool."""
        now, bus = monotonic(), self._bus
        self._slots.discard(slot)
        self._closing.remove(slot)
        slot.close_error = error
        self._tally.closed[reason] += 1
        if error is not None:
            self._close_failed(slot, reason, error, now)
        if bus.on_closed:
            bus.emit(bus.on_closed, _events.Closed(self, now, slot.connection_id, reason, now - slot.created_at))
        if slot.settled is not None and not slot.settled.done() and not self._loop.is_closed():
            slot.settled.set_result(None)
        self._after_loss()

    def _close_failed(self, slot: _Slot[Conn], reason: CloseReason, error: BaseException, now: float) -> None:
        self._tally.close_errors += 1
        if self._bus.on_close_error:
            failed = _events.CloseError(self, now, slot.connection_id, reason, error)
            self._bus.emit(self._bus.on_close_error, failed)

    def _entrust(self, pending: Awaitable[None], slot: _Slot[Conn], what: str, then: Then) -> "asyncio.Future[None]":
        return self._errands.start(pending, self._loop, f"{what}_connection of connection {slot.connection_id}", then)

    def _never_began(self, pending: object, error: BaseException) -> None:
        """What a strategy would have us await was refused by it, or by a loop that is closed and takes no task."""
        if inspect.iscoroutine(pending):
            pending.close()
        self._note_escape(error)

    def _after_loss(self) -> None:
        """A slot is free: end the burst, fill the room, tell `close()`."""
        self._note_burst()
        self._grow()
        if self._waiters:  # after the limit was lowered the freed slot may have been one too many
            self._suspect_deadlock()
        if not self._slots and self._empty is not None and not self._loop.is_closed():
            self._empty.set()

    # ------------------------------------------------------------------ limits

    def _note_burst(self) -> None:
        """Begin, follow and end the burst. Called wherever the total or the limits have changed."""
        total, now, bus = len(self._slots), monotonic(), self._bus
        if total > self._max_size:
            begins, self._burst_peak = not self._burst_peak, max(self._burst_peak, total)
            if begins:
                self._burst_started, self._burst_limit_told = now, False
                self._tally.bursts += 1
                self._look()
                if bus.on_burst_started:
                    started = _events.BurstStarted(self, now, total, self._max_size, self._limit)
                    bus.emit(bus.on_burst_started, started)
        elif self._burst_peak:
            peak, self._burst_peak = self._burst_peak, 0
            self._look()
            if bus.on_burst_ended:
                lasted = now - self._burst_started
                ended = _events.BurstEnded(self, now, total, self._max_size, self._limit, lasted, peak)
                bus.emit(bus.on_burst_ended, ended)

    def _note_limit(self) -> None:
        """Tell, once a burst, that it has met the hard limit while callers queue."""
        if self._burst_peak and not self._burst_limit_told and len(self._slots) >= self._limit and self._excess() > 0:
            self._burst_limit_told = True
            bus = self._bus
            if bus.on_burst_limit_reached:
                reached = _events.BurstLimitReached(self, monotonic(), len(self._slots), self._max_size, self._limit)
                bus.emit(bus.on_burst_limit_reached, reached)

    def _look(self) -> None:
        """Note what the idle path has to do beyond the plain. Called wherever one of these changes."""
        bus = self._bus
        plain = not (self._ages or bus.on_acquire_started or bus.on_acquired_at_once)
        self._at_hand = self._idle if plain else deque()
        tended = self._resets or self._check_after is not None or self._idle_timeout is not None
        self._attentive = bool(self._burst_peak or bus.on_released_to_nobody or tended)

    def _resize(self, max_size: int, burst_limit: int | None) -> None:
        _, max_size, burst_limit = _check.sizes(self._min_size, max_size, burst_limit)
        if self._loop is not _UNBOUND and not self._closed:
            self._bind()
        self._max_size, self._burst_limit, self._limit = max_size, burst_limit, burst_limit or max_size
        surplus = []
        while self._idle and len(self._slots) - len(self._closing) > max_size:
            surplus.append(self._idle.popleft())
            self._closing.add(surplus[-1])
        self._note_burst()
        for slot in surplus:
            self._close(slot, "shrink")
        if self._loop is not _UNBOUND:
            self._grow()
        self._bus.raise_escaped()

    def _spare(self) -> bool:
        return self._ready() > self._min_size

    # ------------------------------------------------------------------ close of the pool

    def _doom(self, reason: CloseReason) -> list[_Slot[Conn]]:
        """Mark every connection as not to be lent again; the idle ones, returned, are among the closing at once."""
        for slot in self._slots:
            if slot not in self._closing:
                slot.doomed = slot.doomed or reason
        idle = list(self._idle)
        self._idle.clear()
        self._closing.update(idle)
        return idle

    def _stop(self) -> None:
        """Do of `close()` what needs no waiting."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, inf
        for waiter in list(self._waiters):
            self._fail(waiter, self._closed_error(), "pool_closed")
        idle = self._doom("pool_closed")
        if self._bus.on_pool_closed:
            self._bus.emit(self._bus.on_pool_closed, _events.PoolClosed(self, monotonic()))
        for slot in idle:
            self._close(slot, "pool_closed")
        for task in (*self._creating.values(), *self._checking.values()):
            if task is not None and not self._loop.is_closed():
                task.cancel()
        self._tell_filled(self._closed_error())
        self._bus.raise_escaped()

    # ------------------------------------------------------------------ time

    def _arm(self, when: float) -> None:
        """See that the one timer fires at `when`, a time on the monotonic clock, or before."""
        if self._due <= when:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        # A weak reference: the loop must not keep an abandoned pool alive. A context of nobody's: what the timer finds
        # to do is not done for the caller that happened to arm it, and has no place in that one's trace.
        pool = weakref.ref[ConnectionPool[Any]](self)
        self._timer = self._loop.call_later(max(0.0, when - monotonic()), _tick, pool, context=Context())

    def _on_time(self) -> None:
        self._timer, self._due = None, inf
        now = monotonic()
        self._expire_waiters(now)
        if self._suspecting:
            self._end_deadlock(now)
        self._retire(now)
        self._check_idle(now)
        self._suspect_leaks()
        self._grow()
        self._schedule(now)
        self._bus.raise_into_loop()

    def _expire_waiters(self, now: float) -> None:
        report: tuple[PoolStats, tuple[Holder, ...]] | None = None
        for lease in list(self._due_waiters(now)):
            report = report or (self.stats(), self.holders())  # once, however many are late together
            self._fail(lease, self._timeout_error(_no_connection(lease), *report), "timeout")

    def _due_waiters(self, now: float) -> Iterable[_Lease[Conn]]:
        for lease in self._waiters:
            if lease.timer is None:
                if lease.deadline > now:
                    break
                yield lease

    def _retire(self, now: float) -> None:
        """Close what has been idle or has lived too long; what is lent is closed when it comes back."""
        if not self._ages:
            return
        for slot in list(self._slots):
            if slot.lease is not None and slot.expires_at <= now:
                slot.doomed = slot.doomed or "lifetime"
        for slot in list(self._idle):
            reason = self._too_old(slot, now)
            if reason is not None and slot in self._idle:
                self._idle.remove(slot)
                self._discard(slot, reason)

    def _check_idle(self, now: float) -> None:
        """Have what has been idle for long looked at, in rounds: half of it at most, so that callers find the rest."""
        if self._check_after is None or self._checking:
            return
        due = [slot for slot in self._idle if self._check_at(slot) <= now]
        for slot in due[: max(1, len(self._idle) // 2)]:
            if slot in self._idle:
                self._idle.remove(slot)
                self._start_check(slot, now)

    def _check_at(self, slot: _Slot[Conn]) -> float:
        assert self._check_after is not None
        return max(slot.idle_since, slot.checked_at) + self._check_after

    def _start_check(self, slot: _Slot[Conn], now: float) -> None:
        slot.checked_at = now
        pending = None
        try:
            pending = self._strategy.check_connection(slot.conn)
            self._checking[slot] = self._entrust(pending, slot, "check", partial(self._check_ended, slot))
        except BaseException as error:
            self._never_began(pending, error)
            self._discard(slot, "stale")

    def _check_ended(self, slot: _Slot[Conn], failure: BaseException | None) -> None:
        del self._checking[slot]
        if failure is not None:
            slot.doomed = slot.doomed or "stale"
        idle_since, now = slot.idle_since, monotonic()
        reason = self._place(slot, "idle", now)
        if reason is not None:
            self._close(slot, reason)
        elif slot.lease is None:  # to its old place among the idle
            self._idle.pop()
            slot.idle_since = idle_since
            insort(self._idle, slot, key=_idle_since)
        if not self._closed:
            self._arm(self._next_of(slot, now) if self._checking else now)  # for the next round

    def _suspect_leaks(self) -> None:
        if self._leak_after is None:
            return
        now = monotonic()
        for slot in list(self._slots):
            lease = slot.lease
            if lease is None or slot.leak_told == lease.acquire_id or lease.since + self._leak_after > now:
                continue
            slot.leak_told = lease.acquire_id
            self._tally.leaks_suspected += 1
            if self._bus.on_leak_suspected:
                holder = _holder(lease, slot, now)
                suspected = _events.LeakSuspected(self, now, lease.acquire_id, slot.connection_id, holder.held, holder)
                _context_of(lease.task).run(self._bus.emit, self._bus.on_leak_suspected, suspected)

    def _schedule(self, now: float) -> None:
        """Arm the timer for what comes next, if anything does."""
        if self._closed:
            return
        for lease in self._waiters:
            if lease.timer is None:
                self._arm(lease.deadline)
                break
        if self._ages or self._leak_after is not None or self._check_after is not None:
            for slot in self._slots:
                if not (slot in self._closing or slot in self._creating or slot in self._checking):
                    self._arm(self._next_of(slot, now))

    def _next_of(self, slot: _Slot[Conn], now: float) -> float:
        """When the timer has to look at `slot` next: what may begin any moment counts as beginning now."""
        lease = slot.lease
        due = inf if slot.doomed is not None else slot.expires_at
        if self._idle_timeout is not None and self._spare():
            due = min(due, (slot.idle_since if lease is None else now) + self._idle_timeout)
        if self._check_after is not None and not self._checking:
            due = min(due, self._check_at(slot) if lease is None else now + self._check_after)
        if self._leak_after is not None:
            told = lease is None or slot.leak_told == lease.acquire_id
            due = min(due, (now if lease is None or told else lease.since) + self._leak_after)
        return due

    # ------------------------------------------------------------------ words

    def _closed_error(self) -> PoolClosedError:
        return PoolClosedError(f"pool {self._name!r} is closed")

    def _full_error(self) -> PoolQueueFullError:
        full = f"max_waiting={self._max_waiting} callers are queued already"
        return PoolQueueFullError(f"pool {self._name!r}: {full} ({self.stats()})")

    def _deadlock_error(self) -> PoolTimeoutError:
        return self._timeout_error(
            "every connection is held by a task that waits for one more, so they wait for each other; use one "
            "connection for both, or let burst_limit be larger than the number of tasks that take two",
            kind=PoolDeadlockError,
        )

    def _timeout_error(
        self,
        what: str,
        stats: PoolStats | None = None,
        holders: tuple[Holder, ...] | None = None,
        kind: type[PoolTimeoutError] = PoolTimeoutError,
    ) -> PoolTimeoutError:
        return kind(
            what,
            stats=stats or self.stats(),
            holders=self.holders() if holders is None else holders,
            last_create_error=self._last_create_error,
        )


def _tick(reference: "weakref.ref[ConnectionPool[Any]]") -> None:
    pool = reference()
    if pool is not None:
        pool._on_time()


def _holder(lease: _Lease[Any], slot: _Slot[Any], now: float) -> Holder:
    name = lease.task.get_name() if lease.task is not None else "no task"
    where = where_is(lease.task) if lease._slot is slot else _RESETTING
    return Holder(lease.acquire_id, slot.connection_id, name, now - lease.since, where)


def _context_of(task: "_Task | None") -> Context:
    """A copy of a task's context, for what is told of the task elsewhere; an empty one where Python keeps it back."""
    if sys.version_info >= (3, 12) and task is not None:
        return task.get_context().copy()
    return Context()


def _pause(failures: int) -> float:
    """Seconds until the next attempt; the power is bounded, for after a long outage it would fit no float."""
    return min(_BACKOFF_MAX, _BACKOFF * 2.0 ** min(failures, 10))


def _reason_of(error: BaseException) -> FailReason:
    if isinstance(error, PoolClosedError):
        return "pool_closed"
    if isinstance(error, PoolQueueFullError):
        return "queue_full"
    return "cancelled"


def _idle_since(slot: _Slot[Any]) -> float:
    return slot.idle_since


def _no_connection(lease: _Lease[Any]) -> str:
    return f"no connection within {lease._timeout:.3f} s"
