"""Puts the parts together, plays the story and reports."""

import asyncio
import contextlib
import logging
import signal
import sys
from argparse import Namespace
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeAlias

from opentelemetry.sdk.trace import ReadableSpan
from redis.asyncio import Redis
from rich.console import Console

from .. import ConnectionPool, PoolError
from .._events import Observer
from .._servers import HOST, Proxy, Valkey
from ..redaction import redact
from ._feed import Feed, Programme, Result, Samples, View
from ._options import dashboard, reachable, scraped, through
from ._plain import PlainView
from ._recorder import Recorder
from ._report import report
from ._stage import BURST_LIMIT, MAX_SIZE, Stage, TracedRedis, in_background
from ._story import ACTS, LEAK_AFTER, reckoning
from ._telemetry import telemetry
from ._view import LiveView
from ._waterfall import slowest_acquire

ViewFor: TypeAlias = Callable[[Programme, Console], View]

FAST = 0.16  # of the usual pace
_ONWARD: tuple[str, ...] = (
    "README.md               what it is, and an example to copy",
    "docs/how-it-works.md    why there is no lock, and what burst means",
    "docs/events.md          every event, and what it carries",
    "--view                  these traces in a browser, by the Aspire dashboard",
    "--otlp URL              traces and metrics to a collector (--datadog: an agent)",
    "--prometheus PORT       metrics to be scraped while the story runs",
    "--redis URL             the story on a server of your own",
)
_SIGNALS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


def run(options: Namespace, *, console: Console | None = None, view_for: ViewFor | None = None) -> int:
    """Play it all.

    Args:
        options: of the command.
        console: where to; standard output by default.
        view_for: makes the view, where the console is not to decide which.

    Returns:
        The exit code: 0, 1 where a claim did not hold, or that of the signal that ended it.

    Raises:
        CannotRun: it cannot be done as asked.
    """
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    play = partial(_play, options, console, view_for or _view)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the event loop listens: asyncio has moments in between
    with asyncio.Runner() as runner:
        return runner.run(_until_signalled(play))


async def _until_signalled(play: Callable[[], Coroutine[Any, Any, int]]) -> int:
    story = asyncio.create_task(play())
    loop, received = asyncio.get_running_loop(), list[signal.Signals]()

    def stop(number: signal.Signals) -> None:
        received.append(number)
        story.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    try:
        return await story
    except asyncio.CancelledError:
        if not received:
            raise
        return _SIGNALS[received[0]]
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _play(options: Namespace, console: Console, view_for: ViewFor) -> int:
    onward = list(_ONWARD)
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(dashboard(options.view, onward))
        collectors = [url for url in (options.otlp, opened and opened.otlp) if url]
        with _kept_logs() as logs:
            stage, programme, spans = await _perform(options, collectors, console, view_for)
        waterfall = slowest_acquire(spans)
        claims = reckoning(stage, spans)
        if opened is not None and waterfall is not None:
            onward.insert(0, f"The trace above, and all the others: {opened.link(waterfall.trace_id)}")
        report(console, programme, claims, waterfall, stage.timeout, logs, onward)
        if opened is not None and waterfall is not None and console.is_terminal:
            opened.show(waterfall.trace_id)
            console.print("\nThe dashboard is open until you press Ctrl-C.")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    return 0 if all(claim.holds for claim in claims + programme.claims) else 1


async def _perform(
    options: Namespace, collectors: list[str], console: Console, view_for: ViewFor
) -> tuple[Stage, Programme, deque[ReadableSpan]]:
    async with AsyncExitStack() as stack:
        server, url = None, options.redis
        if url is None:
            server = await stack.enter_async_context(Valkey())
            url = f"redis://{server.host}:{server.port}"
        host, port = await reachable(url)
        proxy = await stack.enter_async_context(Proxy(host, port))
        attributes: dict[str, str | int] = {"db.system.name": "redis", "server.address": host, "server.port": port}
        watching = await stack.enter_async_context(telemetry(attributes, collectors, datadog=options.datadog))
        pace = FAST if options.fast else 1.0
        recorder, feed = Recorder(), Feed()
        observers: list[Observer] = [*watching.observers, recorder, feed]
        if options.prometheus is not None:
            observers.append(stack.enter_context(scraped(options.prometheus)))
        strategy = TracedRedis(watching.tracer, through(url, proxy), socket_timeout=10, socket_connect_timeout=10)
        pool = _pool(strategy, observers, leak_after=LEAK_AFTER * pace)
        stack.push_async_callback(_close, pool)
        stage = Stage(pool, recorder, watching.tracer, proxy, server, pace, feed.tell)
        what = "Valkey" if server else "your Redis"
        programme = Programme(f"pool {pool.name!r} on {what} at {host}:{port}", ACTS, feed, Samples(pool.stats))
        view = view_for(programme, console)
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


def _pool(strategy: TracedRedis, observers: list[Observer], leak_after: float) -> ConnectionPool[Redis]:
    pool = ConnectionPool(
        strategy=strategy,
        name="orders-cache",
        max_size=MAX_SIZE,
        burst_limit=BURST_LIMIT,
        acquire_timeout=10.0,
        leak_after=leak_after,
        observers=observers,
    )
    pool.keep_distributions()
    return pool


def _view(programme: Programme, console: Console) -> View:
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(programme, console)
    return PlainView(programme, lambda line: print(line, flush=True))


async def _sampling(samples: Samples) -> None:
    while True:
        await asyncio.sleep(samples.INTERVAL)
        samples.take()


async def _ticking(view: View) -> None:
    while True:
        await asyncio.sleep(view.INTERVAL)
        view.tick()


async def _close(pool: ConnectionPool[Redis]) -> None:
    """Closes it where the story was cut short; everybody who held a connection has been cancelled by then."""
    with contextlib.suppress(PoolError):
        await pool.close(timeout=1.0)


@contextlib.contextmanager
def _kept_logs() -> Iterator[Counter[str]]:
    """What libraries log and how often, kept for the report: the live view has the screen."""
    lines: Counter[str] = Counter()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines[redact(f"{record.levelname} {record.name}: {record.getMessage()}")] += 1

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)
