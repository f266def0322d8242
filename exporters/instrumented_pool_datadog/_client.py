"""DogStatsd as a watch uses it: with its tags, and with no failure coming back."""

import logging
from collections.abc import Callable, Sequence

from instrumented_pool.redaction import describe_error

from ._vendor import DogStatsd

_log = logging.getLogger("instrumented_pool")


class Client:
    """Sends what concerns one pool.

    A failure of the client is logged once and otherwise ignored: it must neither reach the pool nor keep the rest of
    a report, or the end of a span, from happening.
    """

    def __init__(self, statsd: DogStatsd, tags: Sequence[str]) -> None:
        self._statsd = statsd
        self._tags = list(tags)
        self._complained = False

    def gauge(self, name: str, value: float, *tags: str) -> None:
        self._safely(lambda: self._statsd.gauge(name, value, tags=[*self._tags, *tags]))

    def count(self, name: str, value: float, *tags: str) -> None:
        self._safely(lambda: self._statsd.increment(name, value, tags=[*self._tags, *tags]))

    def event(self, title: str, text: str, alert_type: str) -> None:
        self._safely(lambda: self._statsd.event(title, text, alert_type=alert_type, tags=self._tags))

    def distribution(self, name: str, value: float, times: int) -> None:
        """Report `value`, in seconds, as having been seen `times` times, in one datagram.

        A sample rate of 1/n is how the protocol says that a value stands for n. The public `distribution()` throws
        the dice for it and drops the value; `_report` is what the client itself uses for values sampled before.
        """
        self._safely(
            lambda: self._statsd._report(  # pyright: ignore[reportPrivateUsage]
                name, "d", value, self._tags, 1 / times, sampling=False
            )
        )

    def _safely(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as error:
            if not self._complained:
                self._complained = True
                _log.error("statsd raised %s; further failures of it are not logged", describe_error(error))
