"""DogStatsd as a watch uses it: in batches, with its tags, and with no failure coming back."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import nextafter
from time import monotonic

from instrumented_pool.redaction import describe_error, redact

from ._vendor import DogStatsd

_CALM = 60.0  # seconds without trouble after which it is said to be over

_log = logging.getLogger("instrumented_pool")


class Outlet:
    """The client of one observer. What goes wrong with it is logged once until it works again, and never raised.

    A failure must neither reach the pool nor keep the rest of a report, or the end of a span, from happening.
    """

    def __init__(self, statsd: DogStatsd) -> None:
        self.statsd = statsd
        self._dropped = statsd.packets_dropped
        self._trouble_at: float | None = None

    def call(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as error:
            self._note(f"raised {describe_error(error)}")

    @contextmanager
    def batch(self, *, last: bool) -> Iterator[None]:
        """Send what is sent meanwhile at the end, in as few datagrams as it fits into; not to be nested.

        The last batch takes along what an aggregating client has kept, for the process may end before its thread runs.
        """
        self.call(self.statsd.open_buffer)
        try:
            yield
        finally:
            if last:
                self.call(self.statsd.flush_aggregated_metrics)
            self.call(self._end_batch)

    def _end_batch(self) -> None:
        try:
            taken = self.statsd.flush()
        finally:
            self.statsd.close_buffer()
        # The client drops what it cannot send. flush() says so from datadog 0.56 on; the count is kept by every
        # version, as long as the client's own telemetry is on, and has the datagrams before the last one too.
        before, self._dropped = self._dropped, self.statsd.packets_dropped
        lost = taken is False or self._dropped > before
        self._note("does not take what it is sent" if lost else None)

    def _note(self, trouble: str | None) -> None:
        now = monotonic()
        if trouble is not None:
            if self._trouble_at is None:
                _log.error("statsd at %s %s; this is not said again until it works", self._where(), trouble)
            self._trouble_at = now
        elif self._trouble_at is not None and now - self._trouble_at > _CALM:
            self._trouble_at = None
            _log.warning("statsd at %s has taken all that it was sent for %.0f seconds", self._where(), _CALM)

    def _where(self) -> str:
        return redact(self.statsd.socket_path or f"{self.statsd.host}:{self.statsd.port}")


class Client:
    """Sends what concerns one pool.

    Args:
        outlet: where to.
        tags: on everything.
        key: what events are grouped by.
    """

    def __init__(self, outlet: Outlet, tags: Sequence[str], key: str) -> None:
        self.batch = outlet.batch
        self._call, self._statsd = outlet.call, outlet.statsd
        self._tags = list(tags)
        self._key = key

    def gauge(self, name: str, value: float, *tags: str) -> None:
        self._call(lambda: self._statsd.gauge(name, value, tags=[*self._tags, *tags]))

    def count(self, name: str, value: float, *tags: str) -> None:
        self._call(lambda: self._statsd.increment(name, value, tags=[*self._tags, *tags]))

    def event(self, title: str, text: str, alert_type: str) -> None:
        self._call(
            lambda: self._statsd.event(title, text, alert_type=alert_type, aggregation_key=self._key, tags=self._tags)
        )

    def distribution(self, name: str, value: float, times: int) -> None:
        """Report `value`, in seconds, as having been seen `times` times, in one line.

        A sample rate of 1/n is how the protocol says that a value stands for n. The public `distribution()` throws
        the dice for it and drops the value; `_report` is what the client itself uses for values sampled before.
        """
        rate = 1 / times
        if int(1 / rate) < times:  # the agent cuts it off to an integer, and 1/(1/93) is a little less than 93
            rate = nextafter(rate, 0.0)
        self._call(
            lambda: self._statsd._report(  # pyright: ignore[reportPrivateUsage]
                name, "d", value, self._tags, rate, sampling=False
            )
        )
