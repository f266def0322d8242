"""The open spans of one pool."""

from asyncio import CancelledError

from instrumented_pool.redaction import describe_error

from ._vendor import ERROR_MSG, ERROR_TYPE, Span, Tracer


class Spans:
    """Starts and ends spans by their name and the pool's number, made current in the task that starts them."""

    def __init__(self, tracer: Tracer, service: str, tags: dict[str, str]) -> None:
        self._tracer = tracer
        self._service = service
        self._tags = tags
        self._open: dict[tuple[str, int], Span] = {}

    def start(self, name: str, number: int) -> None:
        if not self._tracer.enabled:  # asked first: even a disabled tracer takes its time over a span
            return
        span = self._tracer.trace(f"{self._service}.{name}", service=self._service)
        span.set_tags(self._tags)
        self._open[name, number] = span

    def end(
        self, name: str, number: int, error: BaseException | None = None, tags: dict[str, str] | None = None
    ) -> None:
        """End the span, if it was started: tracing may have been switched on since, or the observer added."""
        span = self._open.pop((name, number), None)
        if span is None:
            return
        if tags:
            span.set_tags(tags)
        if error is not None and not isinstance(error, CancelledError):
            _set_error(span, error)
        span.finish()

    def end_all(self) -> None:
        """End what is still open, lest the traces they belong to are never sent."""
        for name, number in list(self._open):
            self.end(name, number)


def _set_error(span: Span, error: BaseException) -> None:
    """As `Span.set_exc_info`, which would also send the text as it is and the stack with all its causes."""
    span.error = 1
    span.set_tag(ERROR_TYPE, f"{type(error).__module__}.{type(error).__qualname__}")
    span.set_tag(ERROR_MSG, describe_error(error))
