"""What the demo's options ask for: a server, a dashboard, somebody to be scraped by."""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from .._events import Observer
from .._servers import HOST, Proxy
from ..redaction import describe_error
from ..strategies.redis import RedisConnectionStrategy
from ._aspire import Dashboard, find, how_to_install
from ._errors import CannotRun


async def reachable(url: str) -> tuple[str, int]:
    """The host and the port of a URL, once a Redis was seen to answer there.

    Raises:
        CannotRun: it is no URL of a Redis, or none answers.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 6379
        strategy = RedisConnectionStrategy(url, socket_timeout=3, socket_connect_timeout=3)
    except (TypeError, ValueError):
        raise CannotRun("--redis takes the URL of a server, as redis://user:password@localhost:6379/0") from None
    if parts.scheme != "redis":
        raise CannotRun(
            "--redis takes a redis:// URL: the demo's proxy stands in between, and does no TLS or UNIX sockets"
        )
    try:
        await strategy.close_connection(await strategy.create_connection())
    except (RedisError, OSError) as error:
        raise CannotRun(f"no Redis that lets us in at {host}:{port}: {describe_error(error)}") from None
    return host, port


def through(url: str, proxy: Proxy) -> str:
    """The URL by way of the proxy."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at}{proxy.host}:{proxy.port}").geturl()


@contextlib.asynccontextmanager
async def dashboard(wanted: bool, onward: list[str]) -> AsyncIterator[Dashboard | None]:
    """The Aspire dashboard, if it is wanted and installed; if it is not installed, how to do that goes to `onward`."""
    executable = find() if wanted else None
    if executable is not None:
        async with Dashboard(executable) as dashboard:
            yield dashboard
        return
    if wanted:
        onward.insert(0, how_to_install())
        print(how_to_install(), file=sys.stderr)
    yield None


@contextlib.contextmanager
def scraped(port: int) -> Iterator[Observer]:
    """An observer of pools, whose metrics are served on a loopback port.

    Raises:
        CannotRun: the port is taken, or prometheus-client is missing.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server

        from instrumented_pool_prometheus import PoolCollector
    except ImportError as error:
        raise CannotRun("--prometheus needs prometheus-client: pip install 'instrumented-pool[prometheus]'") from error
    registry, collector = CollectorRegistry(), PoolCollector()
    registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=HOST, registry=registry)
    except OSError as error:
        raise CannotRun(f"--prometheus cannot listen on port {port}: {error.strerror}") from None
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
