"""Connection pools in StatsD: `ConnectionPool(…, observers=[StatsdObserver("statsd.internal")])`."""

import re
import socket

from instrumented_pool import Acquired, AcquireFailed, BurstEnded, BurstStarted, Created, Event, Observer

__all__ = ["StatsdObserver"]


class StatsdObserver(Observer):
    """Sends what is out of the ordinary, as it happens: waits, failures, new connections and bursts.

    An acquire that finds a connection idle sends nothing and costs nothing.

    Attributes:
        lost: lines that could not be sent, because the socket was full or nobody is there.
    """

    waits_only = True

    def __init__(self, host: str = "127.0.0.1", port: int = 8125, *, prefix: str = "pool") -> None:
        self.lost = 0
        self._prefix = prefix
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect((host, port))

    def close(self) -> None:
        """Give the socket up; what happens then is lost."""
        self._socket.close()

    def on_acquired(self, event: Acquired) -> None:
        """Tell how long it had to wait."""
        self._send(event, "wait", f"{event.wait * 1000:.3f}|ms")

    def on_acquire_failed(self, event: AcquireFailed) -> None:
        """Count it under its reason."""
        self._send(event, f"failed.{event.reason}", "1|c")

    def on_created(self, event: Created) -> None:
        """Tell how long it took."""
        self._send(event, "create", f"{event.duration * 1000:.3f}|ms")

    def on_burst_started(self, event: BurstStarted) -> None:
        """Raise the flag."""
        self._send(event, "bursting", "1|g")

    def on_burst_ended(self, event: BurstEnded) -> None:
        """Lower it."""
        self._send(event, "bursting", "0|g")

    def _send(self, event: Event, metric: str, value: str) -> None:
        pool = re.sub(r"\W+", "_", event.pool.name)
        try:
            self._socket.send(f"{self._prefix}.{pool}.{metric}:{value}".encode())
        except OSError:
            self.lost += 1
