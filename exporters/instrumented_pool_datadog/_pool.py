"""The ancestor's Datadog pool, name for name."""

from collections.abc import Iterable
from typing import TypeVar

from instrumented_pool import ConnectionPool as _ConnectionPool
from instrumented_pool.compat import AnyStrategy, adapt_strategy

from ._observer import DatadogObserver

Conn = TypeVar("Conn")


class ConnectionPool(_ConnectionPool[Conn]):
    """What `asyncio_connection_pool.contrib.datadog.ConnectionPool` was: a pool that tells Datadog everything.

    It waits for ever and reports at every acquire and release and once a minute, under the old names. New code gives a
    `DatadogObserver` to an `instrumented_pool.ConnectionPool` instead, at a twentieth of the cost.

    Args:
        service_name: the service of the spans, the beginning of the names, and the pool's name.
        extra_tags: on every metric and event.
        strategy: one of ours, or one that defines `make_connection`.
        max_size: as in `instrumented_pool.ConnectionPool`.
        burst_limit: as in `instrumented_pool.ConnectionPool`.

    Raises:
        TypeError: an argument is of the wrong kind, or the strategy lacks a method.
        ValueError: an argument is out of range; the message names it and its value.
    """

    def __init__(
        self,
        service_name: str,
        *,
        extra_tags: Iterable[str] | None = None,
        strategy: AnyStrategy[Conn],
        max_size: int,
        burst_limit: int | None = None,
    ) -> None:
        observer = DatadogObserver(service_name, extra_tags=extra_tags or (), report_every=60.0, per_acquire=True)
        super().__init__(
            strategy=adapt_strategy(strategy),
            max_size=max_size,
            burst_limit=burst_limit,
            name=service_name,
            acquire_timeout=None,
            observers=[observer],
        )
