"""Faults that come where a test wants them: at one call among all those that may fail."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from .._events import Event, Observer
from .._strategy import Conn, ConnectionStrategy
from ..metrics import Attributes


class Faults:
    """Counts the calls that may fail, and lets one of them fail.

    Whatever may fail says so: `FaultyStrategy` and `FaultyObserver` do, and code of yours by calling `may_fail`.

    Args:
        at: initial value of the attribute.
        error: initial value of the attribute.

    Attributes:
        at: which of the calls fails, counted from 1 over all names; None is none of them.
        error: makes what the call raises, from words that say which one it is.
        calls: how often each was called, by its name.
        failed: the call that failed, in words; None if there was none.
        raised: what it raised.
        silent: while it is set, calls neither count nor fail.
    """

    def __init__(self, *, at: int | None = None, error: Callable[[str], BaseException] = ConnectionError) -> None:
        self.at = at
        self.error = error
        self.calls: Counter[str] = Counter()
        self.failed: str | None = None
        self.raised: BaseException | None = None
        self.silent = False
        self._when_failing: Callable[[], object] = lambda: None  # for the sweep

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Be `silent` meanwhile."""
        before, self.silent = self.silent, True
        try:
            yield
        finally:
            self.silent = before

    def fails(self, name: str) -> bool:
        """Count a call, and say whether it is the one that fails; for a fault that is no exception."""
        if self.silent:
            return False
        self.calls[name] += 1
        if self.calls.total() != self.at:
            return False
        self.failed = f"call {self.calls[name]} of {name}"
        self._when_failing()
        return True

    def may_fail(self, name: str) -> None:
        """Count a call that may fail.

        Raises:
            BaseException: it is the one that fails.
        """
        if self.fails(name):
            self.raised = self.error(f"{self.failed} failed")
            raise self.raised


class FaultyStrategy(ConnectionStrategy[Conn]):
    """Another strategy, a fake or a real one, each call of which may fail.

    Nothing is leaked: a creation that fails has connected nothing, a close that fails has closed.

    Args:
        strategy: makes, checks and closes the connections.
        faults: says which call fails; each has the name of its method.
    """

    def __init__(self, strategy: ConnectionStrategy[Conn], faults: Faults) -> None:
        self._strategy, self._faults = strategy, faults
        self.check_after = strategy.check_after

    @property
    def attributes(self) -> Attributes:
        """What the other strategy says."""
        return self._strategy.attributes

    async def create_connection(self) -> Conn:
        """Make a connection, unless the call fails."""
        self._faults.may_fail("create_connection")
        return await self._strategy.create_connection()

    def connection_is_closed(self, conn: Conn) -> bool:
        """Say what the other strategy says, unless the call fails."""
        self._faults.may_fail("connection_is_closed")
        return self._strategy.connection_is_closed(conn)

    def close_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Close it, and then perhaps fail."""
        return self._then_fail(self._strategy.close_connection(conn), "close_connection")

    def connection_is_reusable(self, conn: Conn, error: BaseException) -> bool:
        """Say what the other strategy says, unless the call fails."""
        self._faults.may_fail("connection_is_reusable")
        return self._strategy.connection_is_reusable(conn, error)

    def reset_connection(self, conn: Conn) -> Awaitable[None] | None:
        """Reset it, and then perhaps fail."""
        return self._then_fail(self._strategy.reset_connection(conn), "reset_connection")

    async def check_connection(self, conn: Conn) -> None:
        """Check it, unless the call fails."""
        self._faults.may_fail("check_connection")
        await self._strategy.check_connection(conn)

    def _then_fail(self, doing: Awaitable[None] | None, name: str) -> Awaitable[None] | None:
        if doing is not None:
            return self._fail_after(doing, name)
        self._faults.may_fail(name)
        return None

    async def _fail_after(self, doing: Awaitable[None], name: str) -> None:
        await doing
        self._faults.may_fail(name)


class FaultyObserver(Observer):
    """An observer that hears of every event, and may fail at each.

    Args:
        faults: says at which; each call has the name of its hook.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def on_event(self, event: Event) -> None:
        """Do nothing, unless the call fails."""
        self._faults.may_fail(event.name)
