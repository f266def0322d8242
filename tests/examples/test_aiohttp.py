"""The service on aiohttp and Redis does what its page says."""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass

import pytest
import pytest_asyncio

from instrumented_pool._servers import HOST, Valkey, free_port
from support.otlp import Receiver
from support.pages import DOCS, block, blocks
from support.programs import PATIENCE, environment, listens, placeless, started, transcript, trees

PAGE = DOCS / "examples.md"
CONSOLE = block(PAGE, "console", "localhost:8080")
REDIS_URL = "redis://localhost:6379"
TAKEN = [tree for tree in blocks(PAGE, "") if tree.startswith("GET /jobs/next\n")]


@dataclass
class Story:
    """What was seen of the service, from its start to its end."""

    console: str
    log: str
    traces: Counter[str]
    status: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The commands of the page, and a SIGTERM."""
    port, log = free_port(), tmp_path_factory.mktemp("aiohttp") / "log"
    async with Valkey() as server:
        with Receiver() as receiver:
            commands = block(PAGE, "", "examples/aiohttp_redis.py").replace(REDIS_URL, f"redis://{HOST}:{server.port}")
            async with started(commands, log, environment(receiver, PORT=str(port))) as process:
                await listens(process, port)
                console = await transcript(CONSOLE, elsewhere={"localhost:8080": f"{HOST}:{port}"})
                process.terminate()
                status = await asyncio.wait_for(process.wait(), PATIENCE)
    return Story(console, log.read_text(), trees(receiver), status)


def test_commands_print_what_the_page_shows(story: Story) -> None:
    """Three wait for a job in vain, and one is told when to come again."""
    assert story.console == CONSOLE


def test_log_has_the_request_and_the_trace_as_the_page_shows(story: Story) -> None:
    """Of the one that got no connection, with the names of those who have them."""
    (line,) = [line for line in story.log.splitlines() if '"on_acquire_failed"' in line]
    first = re.sub(r"(?<=asyncio/streams.py\)) .*(?=\", \"event\")", " …", placeless(line))
    assert first == placeless(block(PAGE, "json", "on_acquire_failed").rstrip())


def test_requests_have_the_traces_that_the_page_shows_and_no_span_twice(story: Story) -> None:
    """Two with a connection that was idle, two that one was made for, one that waited in vain."""
    assert story.traces == {
        "POST /jobs\n├─ pool.acquire\n│  └─ pool.create\n└─ LPUSH\n": 1,
        **dict(zip(TAKEN, (2, 2, 1), strict=True)),
    }


def test_it_ends_by_sigterm(story: Story) -> None:
    """With its pool closed, as the last thing in the log."""
    assert story.status == 0
    assert '"on_pool_closed"' in story.log.splitlines()[-1]
