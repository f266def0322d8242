"""Every fault of a real server, put to every strategy, in short; and the judge, put to the test himself."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from instrumented_pool.strategies.streams import Stream, StreamsConnectionStrategy
from support.chaos import FAULTS, SUBJECTS, Fault, Stage, chosen, stage_of, trial
from support.chaos.page import PAGE, list_of_faults, published
from support.chaos.subjects import StreamsSubject
from support.pages import ROOT, section


def fault_called(piece: str) -> Fault:
    return next(fault for fault in FAULTS if piece in fault.title)


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """The drivers complain of every fault; pytest would keep the errors that they name, and with them sockets."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SUBJECTS, ids=lambda subject: subject.name)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """The servers of one strategy, for all its trials."""
    async with stage_of(request.param) as stage:
        yield stage


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.title)
async def test_everybody_is_served_again_with_his_own_replies_and_nothing_is_left(stage: Stage, fault: Fault) -> None:
    """Whatever the server does: the pool, its callers, the server and the events agree when it is over."""
    outcome = await trial(stage, fault)
    assert not outcome.wrong, str(outcome)


def test_the_page_shows_every_fault_and_every_strategy() -> None:
    """With seconds that are within what is promised."""
    on_the_page = published()
    assert set(on_the_page) == {(fault.title, subject.name) for fault in FAULTS for subject in SUBJECTS}
    promised = {subject.name: subject.whole_within for subject in SUBJECTS}
    assert all(seconds <= promised[name] for (_, name), seconds in on_the_page.items())
    assert section(PAGE, "faults") == list_of_faults()


def test_words_choose_strategies_and_faults() -> None:
    """As `make chaos` takes them."""
    assert [(subject.name, len(faults)) for subject, faults in chosen(["redis", "FIN"]).items()] == [("redis", 2)]
    assert len(chosen([])) == len(SUBJECTS)
    with pytest.raises(ValueError, match="no strategy is called 'mysql'"):
        chosen(["mysql"])


def test_tool_shows_a_line_for_each_run_and_the_table() -> None:
    """Which `make chaos` calls; and says what it does not know."""
    tool = [sys.executable, str(ROOT / "tools" / "chaos")]
    words = ["streams", "RST while idle", "--runs", "2", "--lasting", "0.1"]
    done = subprocess.run([*tool, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    one, other, _, head, _, row = done.stdout.splitlines()
    assert one.startswith("streams  cut by RST while idle  whole after ")
    assert other.startswith("streams  cut by RST while idle  whole after ")
    assert head == "| fault | streams |"
    assert row.startswith("| cut by RST while idle | ")
    done = subprocess.run([*tool, "mysql"], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("error: no strategy is called 'mysql', and no fault has that in its name\n")


class Trusting(StreamsConnectionStrategy):
    """Lends again whatever comes back."""

    def connection_is_reusable(self, conn: Stream, error: BaseException) -> bool:
        return True

    def reset_connection(self, conn: Stream) -> None:
        pass

    def connection_is_closed(self, conn: Stream) -> bool:
        return conn.writer.is_closing() or conn.reader.at_eof()


class Forgetful(StreamsConnectionStrategy):
    """Does not close the first three that it should."""

    kept: list[Stream]

    async def close_connection(self, conn: Stream) -> None:
        if len(self.kept) < 3:
            self.kept.append(conn)
        else:
            await super().close_connection(conn)


class Deaf(StreamsConnectionStrategy):
    """Never hears that a connection is closed, and lends it again."""

    def connection_is_closed(self, conn: Stream) -> bool:
        return False

    def connection_is_reusable(self, conn: Stream, error: BaseException) -> bool:
        return isinstance(error, OSError | EOFError)


class Bad(StreamsSubject):
    """Has a strategy that is wrong."""

    whole_within = 0.5
    at_rest_within = 1.0

    def __init__(self, strategy: type[StreamsConnectionStrategy]) -> None:
        self.made = strategy


@pytest.mark.parametrize(
    ("strategy", "fault", "complaint"),
    [
        (Trusting, "delay", "a reply to somebody else"),
        (Forgetful, "delay", "connections at the server"),
        (Deaf, "cut by RST", "callers were not served"),
    ],
)
async def test_bad_strategy_is_found_out(
    strategy: type[StreamsConnectionStrategy], fault: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the matrix would say nothing."""
    kept: list[Stream] = []
    monkeypatch.setattr(Forgetful, "kept", kept, raising=False)
    async with stage_of(Bad(strategy)) as stage:
        outcome = await trial(stage, fault_called(fault))
    for _, writer in kept:
        writer.transport.abort()
    await asyncio.sleep(0)
    assert any(complaint in wrong for wrong in outcome.wrong), str(outcome)
