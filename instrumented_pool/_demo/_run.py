"""Puts the parts together, plays the story and reports."""

import asyncio
import contextlib
import logging
import signal
import sys
from argparse import Namespace
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from .. import ConnectionPool, PoolError
from .._events import Observer
from ..redaction import describe_error, redact
from ..strategies.redis import RedisConnectionStrategy
from ._aspire import Dashboard, find, how_to_install
from ._errors import CannotRun
from ._feed import Feed, Programme, Result, Samples
from ._plain import PlainView
from ._proxy import Proxy
from ._recorder import Recorder
from ._report import report
from ._server import HOST, Valkey
from ._stage import BURST_LIMIT, MAX_SIZE, Claim, Stage, TracedRedis, in_background
from ._story import ACTS, LEAK_AFTER, reckoning
from ._telemetry import telemetry
from ._view import LiveView
from ._waterfall import misplaced, slowest_acquire

FAST = 0.17  # of the usual pace
_SIGNALS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


def run(options: Namespace) -> int:
    """Play it all, and return the exit code: 0, 1 where a claim did not hold, 130 or 143 where a signal ended it.

    Raises:
        CannotRun: it cannot be done as asked.
    """
    with asyncio.Runner() as runner:
        return runner.run(_until_signalled(options))


async def _until_signalled(options: Namespace) -> int:
    story = asyncio.create_task(_play(options))
    loop, received = asyncio.get_running_loop(), []

    def stop(number: signal.Signals) -> None:
        received.append(number)
        story.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await story
    except asyncio.CancelledError:
        if not received:
            raise
        return _SIGNALS[received[0]]
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _play(options: Namespace) -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    onward = list(_ONWARD)
    async with AsyncExitStack() as stack:
        dashboard = await stack.enter_async_context(_dashboard(options.view, onward))
        with _kept_logs() as logs:
            stage, programme, spans = await _perform(options, dashboard.otlp if dashboard else options.otlp, console)
        reckoned = [*reckoning(stage), _nesting(spans)]
        waterfall = slowest_acquire(spans)
        if dashboard is not None and waterfall is not None:
            onward.insert(0, f"The trace above, and all the others: {dashboard.link(waterfall.trace_id)}")
        report(console, programme, reckoned, waterfall, stage.timeout, logs, onward)
        if dashboard is not None and waterfall is not None and console.is_terminal:
            dashboard.show(waterfall.trace_id)
            console.print("\nThe dashboard is open until you press Ctrl-C.")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    claims = [claim for result in programme.results for claim in result.claims] + reckoned
    return 0 if all(claim.holds for claim in claims) else 1


async def _perform(
    options: Namespace, otlp: str | None, console: Console
) -> tuple[Stage, Programme, deque[ReadableSpan]]:
    async with AsyncExitStack() as stack:
        server = None if options.redis else await stack.enter_async_context(Valkey())
        url = options.redis or f"redis://{server.host}:{server.port}" if server else options.redis
        url, host, port = await _reachable(url)
        proxy = await stack.enter_async_context(Proxy(host, port))
        attributes: dict[str, str | int] = {
            "db.system.name": "redis",
            "server.address": host,
            "server.port": port,
        }
        watching = await stack.enter_async_context(telemetry(attributes=attributes, otlp=otlp, datadog=options.datadog))
        pace = FAST if options.fast else 1.0
        recorder, feed = Recorder(), Feed()
        observers: list[Observer] = [*watching.observers, recorder, feed]
        if options.prometheus is not None:
            observers.append(stack.enter_context(_scraped(options.prometheus)))
        pool = ConnectionPool(
            strategy=TracedRedis(watching.tracer, _through(url, proxy), socket_timeout=10, socket_connect_timeout=10),
            name="orders-cache",
            max_size=MAX_SIZE,
            burst_limit=BURST_LIMIT,
            acquire_timeout=10.0,
            leak_after=LEAK_AFTER * pace,
            observers=observers,
        )
        pool.keep_distributions()
        stack.push_async_callback(_close, pool)
        stage = Stage(pool, recorder, watching.tracer, proxy, server, pace, feed.tell)
        what = "Valkey" if server else "your Redis"
        programme = Programme(f"pool {pool.name!r} on {what} at {host}:{port}", ACTS, feed, Samples(pool.stats))
        view = _view(programme, console)
        stack.callback(view.close)
        if options.prometheus is not None:
            feed.tell(f"metrics to be scraped at http://{HOST}:{options.prometheus}/metrics")
        await stack.enter_async_context(in_background(_sampling(programme.samples), _ticking(view)))
        for act in ACTS:
            view.begin(act)
            mark = stage.mark()
            claims = await act.play(stage)
            programme.samples.take()
            result = Result(act, claims, mark.stats, pool.stats(), mark.seconds)
            programme.results.append(result)
            view.end(result)
        await pool.close()
        return stage, programme, watching.spans


def _view(programme: Programme, console: Console) -> LiveView | PlainView:
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(programme, console)
    return PlainView(programme, lambda line: print(line, flush=True))


async def _sampling(samples: Samples) -> None:
    while True:
        await asyncio.sleep(samples.INTERVAL)
        samples.take()


async def _ticking(view: LiveView | PlainView) -> None:
    while True:
        await asyncio.sleep(view.INTERVAL)
        view.tick()


async def _close(pool: ConnectionPool[Redis]) -> None:
    """Closes it where the story was cut short; everybody who held a connection has been cancelled by then."""
    with contextlib.suppress(PoolError):
        await pool.close(timeout=1.0)


async def _reachable(url: str) -> tuple[str, str, int]:
    """The URL, its host and its port, once a Redis was seen to answer there.

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
    return url, host, port


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{credentials}{at}{proxy.host}:{proxy.port}").geturl()


@contextlib.asynccontextmanager
async def _dashboard(wanted: bool, onward: list[str]) -> AsyncIterator[Dashboard | None]:
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
def _scraped(port: int) -> Iterator[Observer]:
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


@contextlib.contextmanager
def _kept_logs() -> Iterator[list[str]]:
    """What libraries log, kept for the report: the live view has the screen."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(redact(f"{record.levelname} {record.name}: {record.getMessage()}"))

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def _nesting(spans: Iterable[ReadableSpan]) -> Claim:
    counts, wrong = misplaced(spans)
    shown = ", ".join(f"{counts.get(name, 0):,} {name}" for name in ("pool.acquire", "pool.wait", "pool.create"))
    return Claim(
        f"{shown} and {counts.get('redis.connect', 0):,} redis.connect spans: {wrong} of them not inside their parent",
        wrong == 0 and all(counts.get(name) for name in ("pool.acquire", "pool.wait", "pool.create", "redis.connect")),
    )


_ONWARD: tuple[str, ...] = (
    "README.md             what it is, and a complete example",
    "docs/                 why there is no lock, and what burst means",
    "--view                the traces in a browser;  --otlp URL sends them to a collector of yours",
    "--prometheus PORT     the metrics, to be scraped while the story runs;  --datadog both, to an agent",
    "--redis URL           the story on a server of your own",
)
