"""The spans of one pool's acquires, waits and creations."""

import time
from asyncio import CancelledError
from contextvars import Token
from dataclasses import dataclass

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Span, SpanContext, Status, StatusCode, Tracer, get_current_span, set_span_in_context

from instrumented_pool import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    Closed,
    Created,
    CreateFailed,
    CreateStarted,
    Released,
)
from instrumented_pool.metrics import ACQUIRE_OUTCOME, ACQUIRE_SOURCE, CREATE_OUTCOME, Attributes
from instrumented_pool.redaction import describe_error

from ._names import (
    ACQUIRE_ID,
    ACQUIRE_SPAN,
    ACQUIRE_WAIT,
    ACQUIRE_WAITING,
    CONNECTION_ID,
    CREATE_BURST,
    CREATE_SPAN,
    ERROR_TYPE,
    HOLD_TIME,
    WAIT_SPAN,
)


@dataclass(slots=True)
class _OpenSpan:
    """A span that has begun.

    Attributes:
        span: the span.
        zero: nanoseconds of the epoch at which the monotonic clock of the events stood at 0.
        token: what makes the span's parent current again, where the span is current.
    """

    span: Span
    zero: int
    token: Token[Context] | None = None

    def make_current(self) -> None:
        """Make the span the parent of what follows; one that is not sampled, only where there is no other."""
        if self.span.is_recording() or not get_current_span().get_span_context().is_valid:
            self.token = attach(set_span_in_context(self.span))

    def leave(self) -> bool:
        """Make the parent current again; whether there is something to be said of the span."""
        if self.token is not None:
            detach(self.token)
        return self.span.is_recording()

    def end(self, at: float, attributes: Attributes, error: BaseException | None = None, error_type: str = "") -> None:
        """End the span at `at`; failed, where there is an `error_type`, for the reason that `error` gives."""
        self.span.set_attributes(attributes)
        if error is not None and error_type:
            self.span.set_attribute(ERROR_TYPE, error_type)
            self.span.set_status(Status(StatusCode.ERROR, describe_error(error)))
        self.span.end(self.zero + _ns(at))


@dataclass(frozen=True, slots=True)
class _Creation:
    """The span of a connection's creation, and the acquire that it is for."""

    context: SpanContext
    acquire_id: int | None


class PoolSpans:
    """The spans of one pool that have begun, by the ids of its events. An end without a start is no error.

    A span is current from its start to its end, both of which come in the same task and context, and never while the
    connection is used. Of one that is not sampled, only the span itself is made, for none but the tracer can tell.

    Attributes:
        attributes: the pool's, which every span carries.
    """

    def __init__(self, tracer: Tracer, attributes: Attributes, *, of_all: bool) -> None:
        self.attributes = attributes
        self._tracer = tracer
        self._of_all = of_all
        self._acquires: dict[int, _OpenSpan] = {}
        self._waits: dict[int, _OpenSpan] = {}
        self._creates: dict[int, _OpenSpan] = {}
        self._made: dict[int, _Creation] = {}  # of connections that have not been lent yet

    def acquire_queued(self, event: AcquireQueued) -> None:
        acquire = self._acquires[event.acquire_id] = self._begin(ACQUIRE_SPAN, event.at)
        acquire.make_current()
        if acquire.span.is_recording():
            acquire.span.set_attributes({ACQUIRE_ID: event.acquire_id, ACQUIRE_WAITING: event.waiting})
            if not event.creating:
                self._waits[event.acquire_id] = self._begin(WAIT_SPAN, event.at)

    def released(self, event: Released) -> None:
        """Tell the caller whom this release serves who held the connection, and for how long."""
        if event.served is None:
            return
        waiter = self._waits.get(event.served) or self._acquires.get(event.served)
        if waiter is not None and waiter.span.is_recording():
            hold: Attributes = {HOLD_TIME: event.use}
            waiter.span.set_attributes(hold)
            holder = get_current_span().get_span_context()
            if holder.trace_flags.sampled:
                waiter.span.add_link(holder, hold)

    def acquired(self, event: Acquired) -> None:
        acquire = self._take_acquire(event)
        if acquire is None:
            return
        outcome = {ACQUIRE_OUTCOME: "acquired", ACQUIRE_SOURCE: event.source, CONNECTION_ID: event.connection_id}
        if wait := self._waits.pop(event.acquire_id, None):
            wait.end(event.at, outcome)
        creation = self._made.pop(event.connection_id, None) if event.source == "new" else None
        if creation is not None and creation.acquire_id != event.acquire_id:
            acquire.span.add_link(creation.context, {CONNECTION_ID: event.connection_id})
        acquire.end(event.at, {**outcome, ACQUIRE_WAIT: event.wait})

    def acquire_failed(self, event: AcquireFailed) -> None:
        acquire = self._take_acquire(event)
        if acquire is None:
            return
        outcome, error_type = {ACQUIRE_OUTCOME: event.reason}, _error_type(event)
        if wait := self._waits.pop(event.acquire_id, None):
            wait.end(event.at, outcome, event.error, error_type)
        acquire.end(event.at, {**outcome, ACQUIRE_WAIT: event.wait}, event.error, error_type)

    def create_started(self, event: CreateStarted) -> None:
        create = self._creates[event.connection_id] = self._begin(CREATE_SPAN, event.at)
        create.make_current()
        if create.span.is_recording():
            self._made[event.connection_id] = _Creation(create.span.get_span_context(), event.acquire_id)
            create.span.set_attributes({CONNECTION_ID: event.connection_id, CREATE_BURST: event.burst})
            if event.acquire_id is not None:
                create.span.set_attribute(ACQUIRE_ID, event.acquire_id)

    def created(self, event: Created) -> None:
        create = self._creates.pop(event.connection_id, None)
        if create is not None and create.leave():
            create.end(event.at, {CREATE_OUTCOME: "created"})

    def create_failed(self, event: CreateFailed) -> None:
        self._made.pop(event.connection_id, None)
        create = self._creates.pop(event.connection_id, None)
        if create is not None and create.leave():
            cancelled = isinstance(event.error, CancelledError)
            outcome = {CREATE_OUTCOME: "cancelled" if cancelled else "failed"}
            create.end(event.at, outcome, event.error, "" if cancelled else _type_name(event.error))

    def closed(self, event: Closed) -> None:
        """Forget how the connection was made, if it was never lent as new."""
        self._made.pop(event.connection_id, None)

    def end_all(self) -> None:
        """End what is open: nothing more will be heard of it. Not made un-current, which only its own task could do."""
        for spans in (self._waits, self._creates, self._acquires):
            for open_span in spans.values():
                open_span.span.end()
            spans.clear()
        self._made.clear()

    def _take_acquire(self, event: Acquired | AcquireFailed) -> _OpenSpan | None:
        """The span of an acquire that ends, if it is recorded; where the acquire did not queue, begun only now."""
        acquire = self._acquires.pop(event.acquire_id, None)
        if acquire is None and self._of_all:
            acquire = self._begin(ACQUIRE_SPAN, event.at - event.wait)
            if acquire.span.is_recording():
                acquire.span.set_attribute(ACQUIRE_ID, event.acquire_id)
        return acquire if acquire is not None and acquire.leave() else None

    def _begin(self, name: str, at: float) -> _OpenSpan:
        zero = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(name, attributes=self.attributes, start_time=zero + _ns(at))
        return _OpenSpan(span, zero)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _error_type(event: AcquireFailed) -> str:
    """The pool's word for its own reasons, the exception's type for a driver's, and nothing for a cancelled caller."""
    match event.reason:
        case "cancelled":
            return ""
        case "create_error":
            return _type_name(event.error)
        case reason:
            return reason


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
