"""What a pool ought to do, told as facts about lists: no task, no future, no event, no timer.

The model knows what is asked of the pool and what the server does. From that it says who has which connection, who
waits, who was sent away, when and why, and every count of `stats()`. It shares no code with the pool.

It is exact about what happens at one and the same time, too: a creation takes the event loop two rounds, and so does a
close, a reset and a look; what began first is over first.
"""

from asyncio import CancelledError
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf

from instrumented_pool import PoolClosedError, PoolError, PoolQueueFullError, PoolTimeoutError

Error = type[BaseException] | None


@dataclass(eq=False)
class User:
    """Somebody who called the pool.

    Attributes:
        deadline: when the wait ends.
        fickle: goes away in the very moment of being served, without having noticed.
        conn: what the user has got, and since when.
        leaves_with: the body's error, while a reset or a close is waited for.
        done: whether the call is over, with which error, and when it ended.
    """

    deadline: float = inf
    fickle: bool = False
    conn: "Conn | None" = None
    since: float = 0.0
    leak_told: bool = False
    leaves_with: Error = None
    done: bool = False
    error: Error = None
    ended_at: float = 0.0


@dataclass(eq=False)
class Conn:
    """A connection, from the decision to make it.

    Attributes:
        asker: for whom it is made.
        doom: why it will be closed, once that is known.
        leaver: who waits for its close.
        gone: the other side, which only a look can tell.
        unwatched: nobody waits for its close, for its reset has failed.
    """

    asker: User | None
    number: int = 0
    dead: bool = False
    doom: str = ""
    leaver: User | None = None
    expires_at: float = inf
    idle_since: float = 0.0
    looked_at: float = 0.0
    overrun_at: float = inf
    gone: bool = False
    unwatched: bool = False


@dataclass
class Model:
    """A pool and its server, at one moment. What is done to it takes effect with `settle`, or as time passes."""

    now: float
    max_size: int
    burst_limit: int | None = None
    min_size: int = 0
    max_connecting: float = inf
    max_waiting: float = inf
    max_lifetime: float = inf
    idle_timeout: float = inf
    leak_after: float = inf
    close_timeout: float = inf
    close_errors: str = "raise"
    slow_close: bool = False
    resets: str = ""  # "at once" or "slowly"
    check_after: float = inf

    queue: list[User] = field(default_factory=list)
    lent: dict[Conn, User] = field(default_factory=dict)
    resetting: dict[Conn, User] = field(default_factory=dict)
    idle: list[Conn] = field(default_factory=list)  # the longest idle first
    looking: list[Conn] = field(default_factory=list)
    creating: list[Conn] = field(default_factory=list)
    closing: list[Conn] = field(default_factory=list)
    openers: list[User] = field(default_factory=list)
    closers: list[User] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    acquired: Counter[str] = field(default_factory=Counter)  # by source
    failed: Counter[str] = field(default_factory=Counter)  # by reason
    left: Counter[str] = field(default_factory=Counter)  # connections, by reason
    bound: bool = False
    closed: bool = False
    bursting: bool = False

    hangs: bool = False  # the server, until it recovers
    create_errors: deque[Error] = field(default_factory=deque)
    close_fails: deque[Error] = field(default_factory=deque)
    reset_fails: deque[Error] = field(default_factory=deque)
    arrive_dead: int = 0
    dead_arrivals: int = 0
    retry_at: float = -inf
    refill_errors: int = 0
    refill_at: float = -inf

    _soon: deque[Callable[[], None]] = field(default_factory=deque)  # what comes next, one after the other
    _hung: list[Callable[[], None]] = field(default_factory=list)

    # ------------------------------------------------------------------ what may be done

    def ask(self, timeout: float | None, fickle: bool) -> User:
        user = User(fickle=fickle)
        self._bind()
        self.counts["acquires"] += 1
        while self.idle:
            conn = self.idle.pop()
            if reason := self._unfit(conn):
                self._close([conn], reason)
            else:
                self._lend(conn, user, "idle")
                return user
        if self.closed:
            self._fail(user, PoolClosedError, "pool_closed")
        elif not self._may_create(len(self.queue) + 1) and len(self.queue) + 1 - len(self.creating) > self.max_waiting:
            self._fail(user, PoolQueueFullError, "queue_full")
        else:
            user.deadline = inf if timeout is None else self.now + timeout
            self.queue.append(user)
            self._soon.append(partial(self._expire, user))  # where the timeout is 0
            self._grow()
        return user

    def leave(self, user: User, error: Error) -> None:
        """The body ends."""
        conn = user.conn
        assert conn is not None
        if error is CancelledError:
            conn.doom = conn.doom or "dirty"
        del self.lent[conn]
        user.leaves_with = error
        if not self.resets or conn.doom:
            self._give_back(conn, user)
            return
        self.resetting[conn] = user
        if self.resets == "slowly":
            conn.overrun_at = self.now + self.close_timeout
            self._ask_server(partial(self._reset, conn))
        else:
            self._reset(conn)

    def _reset(self, conn: Conn, error: Error = None) -> None:
        if conn not in self.resetting:
            return
        if error is None and self.reset_fails:
            error = self.reset_fails.popleft()
        if error is not None:
            conn.doom, conn.unwatched = conn.doom or "dirty", True
            self.counts["close_errors"] += 1
        self._give_back(conn, self.resetting.pop(conn))

    def _give_back(self, conn: Conn, user: User) -> None:
        error, there = user.leaves_with, not user.done
        sees_to_it = there and self.close_errors == "raise" and error is not CancelledError and not conn.unwatched
        conn.leaver = user if sees_to_it else None
        closed_for = self._place(conn, "handoff")
        if there and (not sees_to_it or closed_for in ("", "stale")):
            conn.leaver = None
            self._end(user, error)

    def cancel(self, user: User) -> None:
        """Cancelled while it waits, while it has a connection, or while it waits for the reset or close of that."""
        if user in self.queue:
            self._fail(user, CancelledError, "cancelled")
        elif user in self.lent.values():
            self.leave(user, CancelledError)
        else:
            assert user.conn is not None
            user.conn.leaver = None
            self._end(user, CancelledError)

    def clear(self) -> None:
        self._close(self._doom("cleared"), "cleared")
        self._grow()

    def resize(self, max_size: int, burst_limit: int | None) -> None:
        self.max_size, self.burst_limit = max_size, burst_limit
        surplus = max(0, min(len(self.idle), self._kept() - max_size))
        oldest, self.idle = self.idle[:surplus], self.idle[surplus:]
        self._close(oldest, "shrink")
        self._grow()

    def open(self) -> User:
        user = User()
        self._bind()
        self.openers.append(user)
        if self.closed:
            self._end_all(self.openers, PoolClosedError)
        self._tell_openers()
        return user

    def close(self, timeout: float) -> User:
        closer = User(deadline=self.now + timeout)
        self.closers.append(closer)
        if not self.closed:
            self.closed = True
            for user in list(self.queue):
                self._fail(user, PoolClosedError, "pool_closed")
            self._close(self._doom("pool_closed"), "pool_closed")
            self.counts["create_errors"] += len(self.creating)  # they are cancelled
            self.creating.clear()
            for conn in self.looking:  # and so are these
                self._answer_soon(partial(self._looked, conn, CancelledError))
            self._end_all(self.openers, PoolClosedError)
            self._note_burst()
        self._tell_closers()
        return closer

    def recover(self) -> None:
        self.hangs = False
        for answer in self._hung:
            self._answer_soon(answer)
        self._hung.clear()

    def wait(self, until: float) -> None:
        """Let time pass, from one moment at which something is due to the next."""
        while (due := self._next_due()) <= until:
            self.now = due
            self._on_time()
            self.settle()
        self.now = until

    def settle(self) -> None:
        """Let come what comes without time passing."""
        while self._soon:
            self._soon.popleft()()

    # ------------------------------------------------------------------ growth

    def total(self) -> int:
        return self._kept() + len(self.closing)

    def _kept(self) -> int:
        return len(self.creating) + len(self.ready())

    def ready(self) -> list[Conn]:
        return [*self.idle, *self.looking, *self.lent, *self.resetting]

    def _bind(self) -> None:
        self.bound = True
        self._grow()

    def _limit(self) -> int:
        return self.burst_limit or self.max_size

    def _may_create(self, waiting: int) -> bool:
        wanted = waiting > len(self.creating) and self.total() < self._limit() and self.retry_at <= self.now
        return wanted and len(self.creating) < self.max_connecting

    def _may_fill(self) -> bool:
        wanted = self.bound and not self.closed and self.total() < self.min_size
        return wanted and max(self.retry_at, self.refill_at) <= self.now and len(self.creating) < self.max_connecting

    def _grow(self) -> None:
        while self._may_create(len(self.queue)):
            asked = {conn.asker for conn in self.creating}
            self._create(next(user for user in self.queue if user not in asked))
        while self._may_fill():
            self._create(None)

    def _create(self, asker: User | None) -> None:
        conn = Conn(asker)
        self.creating.append(conn)
        self._note_burst()
        self._ask_server(partial(self._answer, conn))

    def _answer(self, conn: Conn) -> None:
        if conn in self.creating:
            self.creating.remove(conn)
            error = self.create_errors.popleft() if self.create_errors else None
            if error is None:
                self._created(conn)
            else:
                self._refused(conn.asker, error)

    def _created(self, conn: Conn) -> None:
        self.counts["created"] += 1
        conn.number = self.counts["created"]
        conn.expires_at = self.now + self.max_lifetime
        conn.dead = self.arrive_dead > 0
        self.arrive_dead -= conn.dead
        if conn.dead and not conn.doom:
            self.retry_at = self.now + _pause(self.dead_arrivals)
            self.dead_arrivals += 1
        else:
            self.dead_arrivals = self.refill_errors = 0
            self.retry_at = self.refill_at = -inf
        self._place(conn, "new")
        self._grow()
        self._tell_openers()

    def _refused(self, asker: User | None, error: type[BaseException]) -> None:
        self.counts["create_errors"] += 1
        if asker is None:
            self.refill_at = self.now + _pause(self.refill_errors)
            self.refill_errors += 1
        elif asker in self.queue:
            self._fail(asker, PoolError if error is CancelledError else error, "create_error")
        self._note_burst()
        self._grow()
        self._end_all(self.openers, PoolError)

    # ------------------------------------------------------------------ from hand to hand

    def _unfit(self, conn: Conn) -> str:
        if conn.expires_at <= self.now:
            return "lifetime"
        return "stale" if conn.dead else ""

    def _place(self, conn: Conn, source: str) -> str:
        """Give away what nobody has; returns why it is closed, if it is."""
        reason = conn.doom
        if not reason and (self.queue or source == "new"):
            reason = self._unfit(conn)
        if not reason and self._kept() + 1 > (self._limit() if self.queue else self.max_size):
            reason = "shrink"
        if reason:
            self._close([conn], reason)
        elif self.queue:
            self._hand_over(conn, self.queue.pop(0), source)
        else:
            self.idle.append(conn)
            conn.idle_since = self.now
        return reason

    def _lend(self, conn: Conn, user: User, source: str) -> None:
        self.lent[conn] = user
        user.since = self.now
        user.conn = conn
        self.acquired[source] += 1

    def _hand_over(self, conn: Conn, user: User, source: str) -> None:
        if user.fickle:
            self.lent[conn] = user
            user.since = self.now
            self._soon.append(partial(self._pass_on, conn, user, source))
        else:
            self._lend(conn, user, source)

    def _pass_on(self, conn: Conn, user: User, source: str) -> None:
        del self.lent[conn]
        self._place(conn, source)
        self._fail(user, CancelledError, "cancelled")

    # ------------------------------------------------------------------ looks at what is idle

    def _look(self) -> None:
        """In rounds, of half of what is idle at most."""
        if self.looking:
            return
        due = [conn for conn in self.idle if self._look_at(conn) <= self.now]
        for conn in due[: max(1, len(self.idle) // 2)]:
            self.idle.remove(conn)
            self.looking.append(conn)
            conn.looked_at, conn.overrun_at = self.now, self.now + self.close_timeout
            self._ask_server(partial(self._looked, conn))

    def _look_at(self, conn: Conn) -> float:
        return max(conn.idle_since, conn.looked_at) + self.check_after

    def _looked(self, conn: Conn, error: Error = None) -> None:
        if conn not in self.looking:
            return
        self.looking.remove(conn)
        if error is not None or conn.gone:
            conn.doom = conn.doom or "stale"
        idle_since = conn.idle_since
        self._place(conn, "idle")
        if conn in self.idle:  # where it was
            self.idle.remove(conn)
            conn.idle_since = idle_since
            insort(self.idle, conn, key=lambda conn: conn.idle_since)
        self._soon.append(self._on_time)  # what fell due meanwhile, and the next round

    # ------------------------------------------------------------------ closing

    def _doom(self, reason: str) -> list[Conn]:
        for conn in (*self.creating, *self.ready()):
            conn.doom = conn.doom or reason
        idle, self.idle = self.idle, []
        return idle

    def _close(self, conns: list[Conn], reason: str) -> None:
        self.closing += conns
        self._note_burst()
        for conn in conns:
            conn.doom = reason
            if self.slow_close:
                conn.overrun_at = self.now + self.close_timeout
                self._ask_server(partial(self._gone, conn))
            else:
                self._gone(conn)

    def _gone(self, conn: Conn, error: Error = None) -> None:
        if conn not in self.closing:
            return
        if error is None and self.close_fails:
            error = self.close_fails.popleft()
        self.closing.remove(conn)
        self.left[conn.doom] += 1
        self.counts["close_errors"] += error is not None
        if conn.leaver is not None:
            self._end(conn.leaver, conn.leaver.leaves_with or error)
        self._note_burst()
        self._grow()
        self._tell_closers()

    def _note_burst(self) -> None:
        was, self.bursting = self.bursting, self.total() > self.max_size
        self.counts["bursts"] += self.bursting and not was

    # ------------------------------------------------------------------ ends

    def _fail(self, user: User, error: type[BaseException], reason: str) -> None:
        if user in self.queue:
            self.queue.remove(user)
        self.failed[reason] += 1
        self._end(user, error)

    def _end(self, user: User, error: Error) -> None:
        user.done, user.error, user.ended_at = True, error, self.now

    def _end_all(self, users: list[User], error: Error) -> None:
        for user in users:
            self._end(user, error)
        users.clear()

    def _tell_openers(self) -> None:
        if len(self.ready()) >= self.min_size:
            self._end_all(self.openers, None)

    def _tell_closers(self) -> None:
        if self.closed and not self.total():
            self._end_all(self.closers, None)

    # ------------------------------------------------------------------ the server, and time

    def _ask_server(self, answer: Callable[[], None]) -> None:
        if self.hangs:
            self._hung.append(answer)
        else:
            self._answer_soon(answer)

    def _answer_soon(self, answer: Callable[[], None]) -> None:
        """In the second round from now."""
        self._soon.append(lambda: self._soon.append(answer))

    def _next_due(self) -> float:
        due = [user.deadline for user in (*self.queue, *self.closers)]
        due += [conn.overrun_at for conn in (*self.resetting, *self.looking, *self.closing)]
        if not self.closed:
            due += [self.retry_at, self.refill_at]
            due += [conn.expires_at for conn in (*self.idle, *self.lent, *self.resetting) if not conn.doom]
            due += [conn.idle_since + self.idle_timeout for conn in self.idle]
            due += [self._look_at(conn) for conn in self.idle if not self.looking]
            holders = (*self.lent.values(), *self.resetting.values())
            due += [user.since + self.leak_after for user in holders if not user.leak_told]
        return min((when for when in due if when > self.now), default=inf)

    def _on_time(self) -> None:
        for user in list(self.queue):
            self._expire(user)
        if not self.closed:
            self._retire()
            self._look()
            self._grow()
        for conns, end in ((self.resetting, self._reset), (self.looking, self._looked), (self.closing, self._gone)):
            for conn in [conn for conn in conns if conn.overrun_at <= self.now]:
                end(conn, TimeoutError)
        late = [closer for closer in self.closers if closer.deadline <= self.now]
        self.closers = [closer for closer in self.closers if closer not in late]
        self._end_all(late, PoolTimeoutError)

    def _expire(self, user: User) -> None:
        if user in self.queue and user.deadline <= self.now:
            self._fail(user, PoolTimeoutError, "timeout")

    def _retire(self) -> None:
        for conn, user in (*self.lent.items(), *self.resetting.items()):
            if conn.expires_at <= self.now:
                conn.doom = conn.doom or "lifetime"
            if user.since + self.leak_after <= self.now and not user.leak_told:
                user.leak_told = True
                self.counts["leaks_suspected"] += 1
        for conn in list(self.idle):
            old = conn.expires_at <= self.now
            if old or conn.idle_since + self.idle_timeout <= self.now:
                self.idle.remove(conn)
                self._close([conn], "lifetime" if old else "idle")


def _pause(failures: int) -> float:
    """Seconds between two attempts."""
    return min(1.0, 0.01 * 2.0 ** min(failures, 10))
