"""What a pool's life looks like in structlog."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from instrumented_pool import ConnectionPool, Observer, PoolTimeoutError
from instrumented_pool.metrics import Attributes
from instrumented_pool.testing import FakeConnection, FakeStrategy
from instrumented_pool_structlog import StructlogObserver
from instrumented_pool_structlog._observer import LEVELS, ROUTINE_LEVELS
from support.fakes import MakePool, Pool
from support.telemetry import At

SECRET = FakeConnection.password


async def times_out(pool: Pool) -> None:
    """Hold a connection while another caller waits for one in vain."""
    async with pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0.001):
                pass


def test_every_hook_has_a_level() -> None:
    """An event added to the core must be given its level here."""
    hooks = {name for name in vars(Observer) if name.startswith("on_")} - {"on_event"}
    assert {*LEVELS, *ROUTINE_LEVELS} == hooks
    assert not LEVELS.keys() & ROUTINE_LEVELS.keys()


async def test_nothing_routine_is_logged_unless_asked(build: MakePool) -> None:
    """A calm day is opening and closing."""
    with capture_logs() as lines:
        async with build(StructlogObserver()) as pool:
            for _ in range(3):
                async with pool.get_connection():
                    pass
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("on_pool_opened", "info"),
        ("on_pool_closed", "info"),
    ]


async def test_first_line_says_what_the_pool_connects_to() -> None:
    """As the strategy says it, once a pool."""
    with capture_logs() as lines:
        async with ConnectionPool(strategy=At("pg"), max_size=1, name="orders", observers=[StructlogObserver()]):
            pass
    assert lines[0] == {
        "event": "on_pool_opened",
        "log_level": "info",
        "pool": "orders",
        "db.system.name": "pg",
        "server.address": "pg.example",
        "server.port": 5432,
    }


def test_hooks_that_are_not_logged_are_not_subscribed() -> None:
    """The pool pays only for what is logged: on the idle path, for nothing."""
    observer = StructlogObserver()
    untouched = {name for name in ROUTINE_LEVELS if getattr(observer, name).__func__ is getattr(Observer, name)}
    assert untouched == ROUTINE_LEVELS.keys()


async def test_routine_events_are_logged_at_debug_when_asked(build: MakePool) -> None:
    """The whole life of one connection, in order, with its numbers."""
    with capture_logs() as lines:
        async with build(StructlogObserver(routine=True)) as pool, pool.get_connection():
            pass
    assert [line["event"] for line in lines] == [
        "on_pool_opened",
        "on_acquire_started",
        "on_acquire_queued",
        "on_create_started",
        "on_created",
        "on_acquired",
        "on_released",
        "on_pool_closed",
        "on_closed",
    ]
    acquired = next(line for line in lines if line["event"] == "on_acquired")
    assert acquired.pop("wait") >= 0
    assert acquired == {
        "event": "on_acquired",
        "log_level": "debug",
        "pool": "orders",
        "acquire_id": 1,
        "connection_id": 1,
        "source": "new",
    }


async def test_timeout_is_an_error_that_names_the_holders(build: MakePool) -> None:
    """The line alone answers who had the connections."""
    with capture_logs() as lines:
        await times_out(build(StructlogObserver()))
    [line] = [line for line in lines if line["event"] == "on_acquire_failed"]
    assert (line["log_level"], line["reason"], line["pool"]) == ("error", "timeout", "orders")
    task = asyncio.current_task()
    assert task is not None
    assert line["error"].startswith("PoolTimeoutError: ")
    assert task.get_name() in line["error"]


async def test_cancelled_caller_is_information(build: MakePool) -> None:
    """A client that went away is nobody's fault, and is told from a timeout."""
    pool = build(StructlogObserver())

    async def wait() -> None:
        async with pool.get_connection():
            pass

    with capture_logs() as lines:
        async with pool.get_connection():
            waiter = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.wait([waiter])
    [line] = [line for line in lines if line["event"] == "on_acquire_failed"]
    assert (line["log_level"], line["reason"]) == ("info", "cancelled")


async def test_burst_is_told_with_its_numbers(build: MakePool) -> None:
    """From the first connection above `max_size` to the last, with the limit met in between."""
    pool = build(StructlogObserver(), burst_limit=2)
    with capture_logs() as lines:
        async with pool.get_connection():
            await times_out(pool)
    burst = [(line["event"], line["log_level"], line["total"]) for line in lines if "burst" in line["event"]]
    assert burst == [
        ("on_burst_started", "info", 2),
        ("on_burst_limit_reached", "warning", 2),
        ("on_burst_ended", "info", 1),
    ]


async def test_failed_creation_is_logged_without_credentials_and_without_traceback(build: MakePool) -> None:
    """The driver's text may quote the DSN it was given."""
    strategy = FakeStrategy()
    strategy.create_errors.append(OSError(f"cannot connect to redis://app:{SECRET}@db:6379/0?password={SECRET}"))
    pool = build(StructlogObserver(routine=True), strategy)
    with capture_logs() as lines, pytest.raises(OSError, match="cannot connect"):
        async with pool.get_connection():
            pass
    [line] = [line for line in lines if line["event"] == "on_create_failed"]
    assert line["log_level"] == "error"
    assert line["error"] == "OSError: cannot connect to redis://***@db:6379/0?password=***"
    assert SECRET not in repr(lines)
    assert not any("exc_info" in line for line in lines)


async def test_close_error_is_an_error(build: MakePool) -> None:
    """The connection is dropped either way; the log says why it went badly."""
    strategy = FakeStrategy()
    strategy.close_errors.append(OSError("broken pipe"))
    pool = build(StructlogObserver(), strategy, close_errors="observe")
    with capture_logs() as lines:
        async with pool.get_connection():
            pass
        await pool.close()
    [line] = [line for line in lines if line["event"] == "on_close_error"]
    assert (line["log_level"], line["error"], line["reason"]) == ("error", "OSError: broken pipe", "pool_closed")


async def test_observer_that_failed_is_told_by_its_class(build: MakePool) -> None:
    """Its repr is its own business."""

    class Broken(Observer):
        def on_released(self, event: object) -> None:
            raise ValueError("no")

        def __repr__(self) -> str:
            return SECRET

    pool = build(StructlogObserver())
    pool.add_observer(Broken())
    with capture_logs() as lines:
        async with pool.get_connection():
            pass
    [line] = [line for line in lines if line["event"] == "on_observer_failed"]
    assert line["observer"].endswith("Broken")
    assert (line["hook"], line["error"], line["log_level"]) == ("on_released", "ValueError: no", "error")
    assert SECRET not in repr(lines)


async def test_lines_are_json_with_the_renderer_people_use(build: MakePool) -> None:
    """Every value is one that JSON knows: no repr sneaks in through a fallback."""
    out = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(default=None)],
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    pool = build(StructlogObserver(routine=True), burst_limit=2)
    async with pool.get_connection():
        await times_out(pool)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {line["pool"] for line in lines} == {"orders"}
    assert {"on_acquire_failed", "on_burst_started", "on_released"} <= {line["event"] for line in lines}
    assert SECRET not in out.getvalue()


async def test_logger_of_the_users_own_is_used(build: MakePool) -> None:
    """What is bound to it is on every line."""
    with capture_logs() as lines:
        async with build(StructlogObserver(logger=structlog.get_logger().bind(team="payments"))):
            pass
    assert {line["team"] for line in lines} == {"payments"}


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        (logging.getLogger("orders"), r"logger must be structlog's, .*structlog\.wrap_logger\(\)"),
        (logging.LoggerAdapter(logging.getLogger("orders"), {}), "logger must be structlog's"),
        ("orders", "logger must have a method log, got str"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_logger_that_takes_no_keys_is_refused(logger: Any, message: str) -> None:
    """It would raise at the first line that its level lets through, which is that of the first failure."""
    with pytest.raises(TypeError, match=message):
        StructlogObserver(logger=logger)


async def test_logger_of_the_standard_library_may_be_wrapped(build: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """As the refusal says."""
    wrapped = structlog.wrap_logger(
        logging.getLogger("orders"),
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    await times_out(build(StructlogObserver(logger=wrapped)))
    (record,) = caplog.records
    assert (record.name, record.levelname, json.loads(record.getMessage())["reason"]) == ("orders", "ERROR", "timeout")


async def test_looking_at_a_logger_does_not_configure_it(build: MakePool) -> None:
    """A module may be given its logger before the application configures structlog."""
    structlog.configure(cache_logger_on_first_use=True)
    observer = StructlogObserver(logger=structlog.get_logger())
    out = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(out)
    )
    async with build(observer):
        pass
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["on_pool_opened", "on_pool_closed"]


@pytest.mark.parametrize("key", ["event", "level", "pool", "self"])
def test_attribute_that_a_line_has_no_room_for_is_refused(key: str) -> None:
    """The line that the pool was opened would be lost, or name another pool."""

    class Odd(At):
        @property
        def attributes(self) -> Attributes:
            return {key: "gold"}

    with pytest.raises(ValueError, match=rf"must not have the keys \['{key}'\]"):
        ConnectionPool(strategy=Odd("pg"), max_size=1, observers=[StructlogObserver()])


def test_missing_structlog_names_the_extra() -> None:
    """The import fails with what to install."""
    code = "import sys; sys.modules['structlog'] = None; import instrumented_pool_structlog"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'instrumented-pool[structlog]'" in run.stderr.splitlines()[-1]


async def test_creation_that_the_closing_pool_cancels_is_no_error() -> None:
    """It failed because nobody wants the connection any more."""
    begun = asyncio.Event()

    class Slow(FakeStrategy):
        async def create_connection(self) -> FakeConnection:
            begun.set()
            await asyncio.Event().wait()
            return await super().create_connection()

    pool = ConnectionPool(strategy=Slow(), max_size=1, min_size=1, observers=[StructlogObserver()])
    with capture_logs() as logs:
        opening = asyncio.create_task(pool.open())
        await begun.wait()
        await pool.close()
        await asyncio.gather(opening, return_exceptions=True)
    assert [entry["log_level"] for entry in logs if entry["event"] == "on_create_failed"] == ["info"]
