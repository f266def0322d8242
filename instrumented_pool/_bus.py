"""The observer bus: who listens to what, and the delivery of events in the order of the changes."""

import difflib
import inspect
import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ._events import Event, Observer, ObserverFailed
from .redaction import describe_error

if TYPE_CHECKING:
    from ._pool import ConnectionPool

Listeners: TypeAlias = tuple[tuple[Observer, Callable[[Any], None]], ...]

HOOKS = tuple(name for name in vars(Observer) if name.startswith("on_") and name != "on_event")

TIMED_ONE_IN = 61
"""Which share of the events is timed; a prime, so as not to keep step with events that come in turn."""

_log = logging.getLogger("instrumented_pool")


class Bus:
    """One tuple of listeners per hook, empty where nobody overrides it, replaced whole when observers come and go.

    The pool tests the tuple, builds the event and calls `emit`. `emit` never raises: what must not be swallowed waits
    in `escaped` until the pool's state is whole and the pool calls `raise_escaped`.
    """

    __slots__ = (
        *HOOKS,
        "_behind",
        "_delivering",
        "_logged",
        "_names",
        "_pool_name",
        "_seconds",
        "_until_timed",
        "errors",
        "escaped",
        "observers",
        "on_acquired_at_once",
        "on_released_to_nobody",
    )

    on_pool_opened: Listeners
    on_pool_cleared: Listeners
    on_pool_closed: Listeners
    on_acquire_started: Listeners
    on_acquire_queued: Listeners
    on_acquired: Listeners
    on_acquire_failed: Listeners
    on_released: Listeners
    on_create_started: Listeners
    on_created: Listeners
    on_create_failed: Listeners
    on_burst_started: Listeners
    on_burst_limit_reached: Listeners
    on_burst_ended: Listeners
    on_shrink: Listeners
    on_closed: Listeners
    on_close_error: Listeners
    on_leak_suspected: Listeners
    on_observer_failed: Listeners

    # Of those two hooks, the listeners who want to hear of callers that did not queue.
    on_acquired_at_once: Listeners
    on_released_to_nobody: Listeners

    def __init__(self, pool_name: str) -> None:
        self._pool_name = pool_name
        self.observers: tuple[Observer, ...] = ()
        self.errors = 0
        self.escaped: BaseException | None = None
        self._delivering = False
        self._behind: deque[tuple[Listeners, Event]] = deque()
        self._logged: set[tuple[int, str]] = set()
        self._names: dict[int, str] = {}  # of the observers, by their ids
        self._seconds: dict[str, float] = {}  # by these names
        self._until_timed = TIMED_ONE_IN
        self._subscribe()

    def add(self, observer: Observer, pool: "ConnectionPool[Any]") -> None:
        """Register `observer`.

        Raises:
            TypeError: it is no `Observer`, has a hook of an unknown name, or a hook that is an `async def`.
            ValueError: it is registered already.
        """
        check_observer(observer)
        if any(known is observer for known in self.observers):
            raise ValueError(f"{observer!r} already observes pool {self._pool_name!r}")
        observer.attached(pool)
        self.observers = (*self.observers, observer)
        self._names[id(observer)] = name = free_name(type(observer).__qualname__, set(self._seconds))
        self._seconds[name] = 0.0
        self._subscribe()

    def remove(self, observer: Observer, pool: "ConnectionPool[Any]") -> None:
        """Forget `observer`.

        Raises:
            ValueError: it is not registered.
        """
        if not any(known is observer for known in self.observers):
            raise ValueError(f"{observer!r} does not observe pool {self._pool_name!r}")
        self.observers = tuple(known for known in self.observers if known is not observer)
        self._logged = {(key, hook) for key, hook in self._logged if key != id(observer)}
        del self._seconds[self._names.pop(id(observer))]
        self._subscribe()
        observer.detached(pool)

    def _subscribe(self) -> None:
        for hook in HOOKS:
            setattr(self, hook, _listeners(hook, self.observers))
        all_acquires = tuple(observer for observer in self.observers if not observer.waits_only)
        self.on_acquire_started = _listeners("on_acquire_started", all_acquires)
        self.on_acquired_at_once = _listeners("on_acquired", all_acquires)
        self.on_released_to_nobody = _listeners("on_released", all_acquires)

    def seconds(self) -> dict[str, float]:
        """Seconds that each observer has spent in its hooks, extrapolated from the events that were timed."""
        return {name: spent * TIMED_ONE_IN for name, spent in tuple(self._seconds.items())}

    def emit(self, listeners: Listeners, event: Event) -> None:
        """Give `event` to `listeners`; behind the present one if a hook changed the pool."""
        self._behind.append((listeners, event))
        if self._delivering:
            return
        self._delivering = True
        while self._behind:
            self._until_timed -= 1
            if self._until_timed:
                self._deliver(*self._behind.popleft())
            else:
                self._until_timed = TIMED_ONE_IN
                self._deliver_timed(*self._behind.popleft())
        self._delivering = False

    def _deliver(self, listeners: Listeners, event: Event) -> None:
        for observer, hook in listeners:
            try:
                hook(event)
            except Exception as error:
                self._failed(observer, event, error)
            except BaseException as error:
                self.escape(error)

    def _deliver_timed(self, listeners: Listeners, event: Event) -> None:
        for listener in listeners:
            began = perf_counter()
            self._deliver((listener,), event)
            spent, name = perf_counter() - began, self._names.get(id(listener[0]))
            if name is not None:  # a hook may have removed it
                self._seconds[name] += spent

    def _failed(self, observer: Observer, event: Event, error: Exception) -> None:
        self.errors += 1
        key = (id(observer), event.name)
        if key not in self._logged:
            self._logged.add(key)
            _log.error(
                "pool %r: %s.%s raised %s at %s; the pool goes on, and further failures of this hook are not logged",
                self._pool_name,
                type(observer).__qualname__,
                event.name,
                describe_error(error),
                _origin(error),
            )
        if self.on_observer_failed and not isinstance(event, ObserverFailed):
            failed = ObserverFailed(event.pool, monotonic(), observer, event.name, error)
            self._behind.append((self.on_observer_failed, failed))

    def escape(self, error: BaseException) -> None:
        """Keep `error`, which is no `Exception`, until everybody was told and the pool's state is whole."""
        if self.escaped is None:
            self.escaped = error

    def raise_escaped(self) -> None:
        """Raise what a hook or the strategy raised that is no `Exception`. Called when the pool's state is whole."""
        if self.escaped is not None and not self._delivering:
            error, self.escaped = self.escaped, None
            raise error

    def raise_into_loop(self) -> None:
        """The same where there is no caller but the event loop: a cancellation has nobody to cancel there."""
        if isinstance(self.escaped, CancelledError):
            self.escaped = None
        self.raise_escaped()


def check_observer(observer: object) -> None:
    """Refuse what cannot be called as an observer; see `Bus.add`."""
    if not isinstance(observer, Observer):
        raise TypeError(f"observers must be instances of Observer, got {observer!r}")
    for name in dir(observer):
        if not name.startswith("on_"):
            continue
        if name != "on_event" and name not in HOOKS:
            close = difflib.get_close_matches(name, [*HOOKS, "on_event"], n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; the hooks are {', '.join(HOOKS)} and on_event"
            raise TypeError(f"{type(observer).__qualname__}.{name} is not a hook of Observer{hint}")
        hook = getattr(observer, name)
        if not callable(hook) or inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook):
            raise TypeError(
                f"{type(observer).__qualname__}.{name} must be a plain function: the pool calls hooks without awaiting"
            )


def free_name(name: str, taken: set[str]) -> str:
    """Return `name`, or `name#2` and so on where that is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


def _listeners(hook: str, observers: tuple[Observer, ...]) -> Listeners:
    return tuple(
        (observer, getattr(observer, name))
        for observer in observers
        for name in (hook, "on_event")
        if _overrides(observer, name)
    )


def _overrides(observer: Observer, name: str) -> bool:
    return getattr(getattr(observer, name), "__func__", None) is not getattr(Observer, name)


def _origin(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback else "an unknown place"
