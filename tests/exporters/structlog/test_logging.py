"""With structlog in front of the standard library's logging: real loggers, filters, handlers and files."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from instrumented_pool import PoolTimeoutError
from instrumented_pool_structlog import StructlogObserver
from support.fakes import MakePool, Pool
from support.pages import DOCS, run_block


@pytest.fixture(autouse=True)
def _plain_logging() -> Iterator[None]:
    """Put `logging` back as it was."""
    loggers = [logging.getLogger(), logging.getLogger("instrumented_pool")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


async def time_out(pool: Pool) -> None:
    """Ask in vain, in a burst."""
    async with pool.get_connection(), pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass


async def test_levels_and_logger_are_those_of_the_standard_library(build: MakePool, tmp_path: Path) -> None:
    """A handler with a level of its own writes to a file what `logging` was told."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.FileHandler(tmp_path / "pool.log")
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("instrumented_pool").setLevel(logging.DEBUG)
    await time_out(build(StructlogObserver(routine=True), burst_limit=2))
    handler.close()
    lines = (tmp_path / "pool.log").read_text().splitlines()
    assert [line.partition(" pool=")[0] for line in lines] == [
        "WARNING instrumented_pool event='on_burst_limit_reached'",
        "ERROR instrumented_pool event='on_acquire_failed'",
    ]


async def test_level_of_the_logger_filters_before_anything_is_rendered(build: MakePool) -> None:
    """As for any library."""
    rendered: list[str] = []

    def note(logger: object, method: str, line: structlog.typing.EventDict) -> str:
        rendered.append(line["event"])
        return ""

    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, note],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logging.getLogger("instrumented_pool").setLevel(logging.ERROR)
    await time_out(build(StructlogObserver(routine=True), burst_limit=2))
    assert rendered == ["on_acquire_failed"]


async def test_handler_renders_as_the_page_configures_it(build: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `ProcessorFormatter`, in one stream with what the pool itself says by plain logging."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    run_block(DOCS / "exporters" / "structlog.md", "ProcessorFormatter")
    pool = build(StructlogObserver(trace_ids=lambda: 7), burst_limit=2)  # type: ignore[arg-type, return-value]  # fails
    await time_out(pool)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    theirs = [line for line in lines if "pool" in line]
    plain = [line for line in lines if "pool" not in line]
    assert ("on_acquire_failed", "error") in [(line["event"], line["level"]) for line in theirs]
    assert ("on_burst_started", "info") in [(line["event"], line["level"]) for line in theirs]
    assert "on_acquire_failed raised TypeError: trace_ids must return" in str(plain)
