"""The worker does what its page says."""

import asyncio
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from instrumented_pool._servers import HOST, Postgres, Valkey
from support.otlp import Receiver
from support.pages import DOCS, block
from support.programs import PATIENCE, UNWANTED, clients, environment, placeless, started, trees

PAGE = DOCS / "examples.md"
REDIS_URL = "redis://localhost:6379"
DATABASE_URL = "postgresql://postgres@localhost:5432/postgres"
LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
STARTED = "SELECT count(to_regclass('orders'))"
KEPT = "SELECT count(*) FROM orders"


@dataclass
class Story:
    """What was seen of the worker, told to stop with an order that it cannot keep, and started again."""

    stuck: str
    clients: int
    again: str
    statuses: list[int]
    kept: int
    traces: Counter[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The commands of the page, with somebody who locks the table."""
    logs = tmp_path_factory.mktemp("worker")
    async with Valkey() as server, Postgres() as postgres, Redis(host=HOST, port=server.port) as redis:
        database = await asyncpg.connect(postgres.url)
        commands = block(PAGE, "", "examples/worker.py").replace(DATABASE_URL, postgres.url)
        commands = commands.replace(REDIS_URL, f"redis://{HOST}:{server.port}")
        commands = commands.replace("INSTRUMENTATIONS=redis", f"INSTRUMENTATIONS=redis,{UNWANTED}")
        order, another = block(PAGE, "", "redis-cli").splitlines()

        async def run(log: Path, story: Callable[[], Awaitable[object]]) -> int:
            async with started(commands, log, environment(receiver)) as process:
                await story()
                process.terminate()
                return await asyncio.wait_for(process.wait(), PATIENCE)

        async def stuck() -> None:
            await until(database, STARTED, 1)
            await redis.lpush(*shlex.split(order)[2:])
            await until(database, KEPT, 2)
            await database.execute("BEGIN; LOCK TABLE orders")
            await redis.lpush(*shlex.split(another)[2:])
            await until(database, LOCKED, 1)

        with Receiver() as receiver:
            statuses = [await run(logs / "stuck", stuck)]
            await database.execute("ROLLBACK")
            left = await clients(postgres) - 1
            statuses += [await run(logs / "again", lambda: until(database, KEPT, 3))]
        kept = await database.fetchval(KEPT)
        await database.close()
    return Story((logs / "stuck").read_text(), left, (logs / "again").read_text(), statuses, kept, trees(receiver))


async def until(database: asyncpg.Connection, query: str, count: int) -> None:
    """Wait until the database gives a count."""
    async with asyncio.timeout(PATIENCE):
        while await database.fetchval(query) != count:
            await asyncio.sleep(0.05)


def test_told_to_stop_it_says_who_still_holds_a_connection_as_the_page_shows(story: Story) -> None:
    """Having waited for as long as it may."""
    assert placeless(story.stuck) == placeless(block(PAGE, "", "INFO stopping"))


def test_it_ends_by_sigterm_and_leaves_no_connection(story: Story) -> None:
    """Nor does it where an order cannot be kept."""
    assert (story.statuses, story.clients) == ([0, 0], 0)


def test_an_order_that_was_not_kept_is_kept_when_it_is_started_again(story: Story) -> None:
    """As it stayed in the consumer's list."""
    assert story.kept == 3
    assert story.again.endswith("INFO stopped, with 0 unfinished\n")


def test_each_attempt_at_an_order_is_one_trace_with_one_span_of_its_command(story: Story) -> None:
    """Three that were kept, and the one that could not be, whatever they waited for."""
    orders = [tree for tree in story.traces.elements() if tree.startswith("order\n")]
    assert [tree.count("INSERT") for tree in orders] == [1] * 4
    assert not [tree for tree in story.traces if "INSERT" in tree and tree not in orders]
