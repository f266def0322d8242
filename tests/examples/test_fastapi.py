"""The service on FastAPI and asyncpg does what its page says."""

import asyncio
import re
import signal
from collections import Counter
from dataclasses import dataclass

import pytest
import pytest_asyncio

from instrumented_pool._servers import HOST, Postgres, free_port
from support.otlp import Receiver
from support.pages import DOCS, block, blocks
from support.programs import PATIENCE, clients, environment, listens, placeless, started, transcript, trees

PAGE = DOCS / "examples.md"
CONSOLE = block(PAGE, "console", "localhost:8000")
PASSWORD = "lindworm"
DATABASE_URL = "postgresql://postgres@localhost:5432/postgres"
REPORTS = [tree for tree in blocks(PAGE, "") if tree.startswith("GET /report\n")]


@dataclass
class Story:
    """What was seen of the service, from its start to its end."""

    console: str
    log: str
    traces: Counter[str]
    status: int
    clients: int
    sent: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The commands of the page, and a SIGTERM."""
    port, log = free_port(), tmp_path_factory.mktemp("fastapi") / "log"
    async with Postgres(password=PASSWORD) as database:
        with Receiver() as receiver:
            commands = block(PAGE, "", "uvicorn --app-dir").replace(DATABASE_URL, database.url)
            async with started(commands, log, environment(receiver, UVICORN_PORT=str(port))) as process:
                await listens(process, port)
                elsewhere = {
                    "localhost:8000": f"{HOST}:{port}",
                    '"5432"': f'"{database.port}"',
                    '"localhost"': f'"{HOST}"',
                }
                console = await transcript(CONSOLE, elsewhere=elsewhere)
                process.terminate()
                status = await asyncio.wait_for(process.wait(), PATIENCE)
        return Story(console, log.read_text(), trees(receiver), status, await clients(database), str(receiver.traces))


def test_commands_print_what_the_page_shows(story: Story) -> None:
    """Three reports, and one request that is told when to come again."""
    assert story.console == CONSOLE


def test_log_says_who_held_the_connections_as_the_page_shows(story: Story) -> None:
    """Down to the line of the endpoint."""
    warnings = "".join(re.findall(r"(?m)^WARNING:.*\n(?:  .*\n)*", story.log))
    assert placeless(warnings) == placeless(block(PAGE, "", "WARNING:"))


def test_requests_have_the_traces_that_the_page_shows_and_no_span_twice(story: Story) -> None:
    """One with a connection that was idle, two that one was made for, one that waited in vain; and the start."""
    sent = "├─ {0} http send\n└─ {0} http send\n"
    assert story.traces == {
        "pool.acquire\n└─ pool.create\n": 1,
        "CREATE\n": 1,
        "POST /orders\n├─ INSERT\n" + sent.format("POST /orders"): 1,
        "GET /orders/{number}\n├─ SELECT\n" + sent.format("GET /orders/{number}"): 1,
        **dict(zip(REPORTS, (1, 2, 1), strict=True)),
    }


def test_it_ends_by_sigterm_and_leaves_no_connection(story: Story) -> None:
    """By the signal itself, as uvicorn does, but having closed the pool and sent its spans."""
    assert (story.status, story.clients) == (-signal.SIGTERM, 0)
    assert "Application shutdown complete." in story.log


def test_nothing_that_it_says_holds_the_password(story: Story) -> None:
    """Neither on the console nor in the log nor on a span."""
    assert "fastapi_asyncpg" in story.log
    assert "orders-db" in story.sent
    assert PASSWORD not in story.console + story.log + story.sent
