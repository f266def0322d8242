"""The demo as its users meet it: a command, its output, its exit code, and what it leaves behind."""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest

from instrumented_pool.__main__ import main
from instrumented_pool._demo import _aspire, _options, _run
from instrumented_pool._demo._stage import Claim, Stage
from instrumented_pool._demo._story import Act
from instrumented_pool._servers import Valkey, free_port
from support.otlp import Receiver

DEMO = (sys.executable, "-m", "instrumented_pool", "demo")
ACTS = ("Calm", "A surge", "The server stalls", "A handler forgets", "The server dies")
PATIENCE = 60  # seconds for anything, on a machine that has much else to do


def start(*options: str, **environment: str) -> "subprocess.Popen[str]":
    """The demo, in a session of its own, by which whatever it leaves behind can be found."""
    return subprocess.Popen(
        [*DEMO, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", **environment},
        start_new_session=True,
    )


def processes_of(session: int) -> list[str]:
    """The processes of a session that are alive, by their command lines."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = place.joinpath("stat").read_text().rpartition(") ")[2].split()[:4]
            command = place.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended while we looked
            continue
        if int(its_session) == session and state != "Z":
            found.append(command)
    return found


def wait_for(line: str, output: IO[str] | None) -> None:
    """Reads what the demo prints up to a line."""
    assert output is not None
    for printed in output:
        if line in printed:
            return
    pytest.fail(f"the demo ended before {line!r}")


@pytest.fixture(scope="module")
def story() -> str:
    """The output of one whole run, without a terminal."""
    demo = start("--fast")
    out, err = demo.communicate(timeout=PATIENCE)
    assert err == ""
    assert demo.returncode == 0, out
    assert processes_of(demo.pid) == []
    return out


def test_story_is_told_to_its_end_without_a_terminal(story: str) -> None:
    """Exit code 0, nothing on stderr, no process left (see the fixture), and every act in its turn."""
    positions = [story.index(f"{number}/5 {title}.") for number, title in enumerate(ACTS, 1)]
    assert positions == sorted(positions)


def test_every_act_claims_something_and_every_claim_holds(story: str) -> None:
    """Each act's claims are printed with their numbers, and none is false."""
    told, _, reported = story.partition("What happened")
    for part in re.split(r"\n\d/5 ", told)[1:]:
        assert part.count("✓") >= 3
    assert "✗" not in story
    assert reported.count("✓") == told.count("✓") + 5  # the reckoning's four, and the verdict


def test_plain_output_has_no_escape_sequences(story: str) -> None:
    """It is read in logs."""
    assert "\x1b" not in story


def test_report_draws_the_slowest_acquire_from_its_spans(story: str) -> None:
    """The request, the acquire in it, and in that what it waited for: a creation, or its turn."""
    drawn = story.partition("The slowest acquire")[2].partition("──\n")[2].partition("\n\n")[0].splitlines()
    names = [line.split("█")[0].rstrip() for line in drawn]
    assert names[:2] == ["GET /orders/{id}", "  pool.acquire"]
    # Which caller waited longest is up to the machine: usually one whose own connection was dialled during the stall.
    assert names[2:4] == ["    pool.create", "      redis.connect"] or names[2] == "    pool.wait"
    assert all(re.search(r"█.* ms$", line) for line in drawn)


def test_report_shows_the_error_that_names_the_holders(story: str) -> None:
    """The real text of the real error: task, seconds, and where it is now."""
    words = " ".join(story.partition("PoolTimeoutError: pool 'orders-cache': ")[2].split())
    assert re.match(r"no connection within 0\.\d{3} s \(waiting=\d+ in_use=12 ", words)
    assert re.search(
        r"POST /checkout 1 has held connection \d+ for \d\.\d{3} s, now in checkout \(.*> charge_card \(", words
    )


def test_claim_that_does_not_hold_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The claims are checked, not recited."""

    async def lie(stage: Stage) -> list[Claim]:
        return [Claim("pigs fly", holds=False)]

    monkeypatch.setattr(_run, "ACTS", (Act("A lie", "Nothing happens.", lie),))
    assert main(["demo", "--fast"]) == 1
    assert "✗ pigs fly" in capsys.readouterr().out


def test_view_that_is_not_installed_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How to install the dashboard; the story is told all the same."""
    monkeypatch.setattr(_options, "find", lambda: None)
    monkeypatch.setattr(_run, "ACTS", ())
    main(["demo", "--fast", "--view"])
    told = capsys.readouterr()
    assert told.err == f"{_aspire.how_to_install()}\n"
    assert "npm install --global --ignore-scripts @microsoft/aspire-cli-" in told.out


def test_dashboard_is_found_where_the_environment_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before any other place, if it can be run."""
    dashboard = tmp_path / "aspire"
    dashboard.touch(mode=0o755)
    monkeypatch.setenv("INSTRUMENTED_POOL_ASPIRE", str(dashboard))
    assert _aspire.find() == str(dashboard)
    dashboard.chmod(0o644)
    assert _aspire.find() != str(dashboard)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--redis", "redis://127.0.0.1:1"], "no Redis that lets us in at 127.0.0.1:1"),
        (["--redis", "localhost"], "--redis takes the URL of a server"),
        (["--redis", "redis://me:hun/ter2@localhost"], "--redis takes the URL of a server"),
        (["--redis", "rediss://localhost"], "--redis takes a redis:// URL"),
        (["--otlp", "http://127.0.0.1:1"], "no collector listens at 127.0.0.1:1"),
        (["--otlp", "localhost:4318"], "--otlp takes the address of an OTLP/HTTP collector"),
        (["--prometheus", "70000"], "'70000' is no port"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(options: list[str], reason: str) -> None:
    """Exit code 2 and a line on stderr; no traceback, no usage, no credentials, no process."""
    demo = start("--fast", *options)
    out, err = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 2
    assert out == ""
    assert err.count("\n") == 1
    assert reason in err
    assert "hun" not in err
    assert processes_of(demo.pid) == []


def test_port_in_use_is_said_in_one_line() -> None:
    """The port of --prometheus belongs to somebody else."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        demo = start("--fast", "--prometheus", str(other.server_port))
        _, err = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 2
    assert err == f"instrumented-pool: --prometheus cannot listen on port {other.server_port}: Address already in use\n"
    assert processes_of(demo.pid) == []


@pytest.mark.parametrize("missing", ["rich", "redis", "opentelemetry.sdk", "instrumented_pool_otel"])
def test_missing_extra_is_named(missing: str) -> None:
    """Without the demo's packages, the line says what to install."""
    script = f"import sys, instrumented_pool.__main__ as m; sys.modules[{missing!r}] = None; sys.exit(m.main(['demo']))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'instrumented-pool[demo]'" in done.stderr


def test_output_that_cannot_show_our_signs_gets_plainer_ones() -> None:
    """An ASCII log is no reason to fail."""
    demo = start("--fast", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    wait_for("  ok ", demo.stdout)
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, err) == (130, "")


def test_reader_that_has_seen_enough_ends_it_quietly() -> None:
    """`demo | head -1`: no traceback."""
    demo = start("--fast")
    assert demo.stdout is not None
    assert demo.stderr is not None
    wait_for("1/5", demo.stdout)
    demo.stdout.close()
    assert demo.wait(timeout=PATIENCE) == 1
    assert demo.stderr.read() == ""
    demo.stderr.close()
    assert processes_of(demo.pid) == []


def interrupted(number: int) -> "subprocess.Popen[str]":
    """The demo, told to stop in one of its acts."""
    demo = start("--fast")
    wait_for(f"{number}/5", demo.stdout)
    time.sleep(0.2)  # into the act: nothing printed says where
    demo.send_signal(signal.SIGINT)
    return demo


def test_ctrl_c_in_any_act_ends_it_cleanly() -> None:
    """Exit code 130, no traceback, no server left."""
    with ThreadPoolExecutor(len(ACTS)) as at_once:  # for they take their time
        demos = list(at_once.map(interrupted, range(1, len(ACTS) + 1)))
    for demo in demos:
        _, err = demo.communicate(timeout=PATIENCE)
        assert (demo.returncode, err) == (130, "")
        assert processes_of(demo.pid) == []


@pytest.mark.parametrize("module", ["opentelemetry.trace", "rich.live", "instrumented_pool._demo._run"])
def test_ctrl_c_before_the_story_begins_ends_it_cleanly(module: str) -> None:
    """While it imports, and as it starts its server; until `main` runs, Ctrl-C is Python's own affair."""
    demo = start("--fast", PYTHONPROFILEIMPORTTIME="1")  # which has each module named that was imported
    wait_for(f" {module}\n", demo.stderr)
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, "KeyboardInterrupt" in err) == (130, False), err
    assert processes_of(demo.pid) == []


EARLY = """
import os, signal, sys
from instrumented_pool.__main__ import main
from instrumented_pool._demo import _run

listen, interrupts = signal.signal, [signal.SIGINT]

def listen_and_be_interrupted(*arguments):
    before = listen(*arguments)
    while interrupts:
        os.kill(os.getpid(), interrupts.pop())
    return before

signal.signal = listen_and_be_interrupted
sys.exit(main(["demo", "--fast"]))
"""


def test_ctrl_c_as_the_event_loop_begins_ends_it_cleanly() -> None:
    """Where asyncio would cancel everything, and have forgotten why by the time that it ends."""
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_sigterm_ends_it_cleanly() -> None:
    """As from an init system or a container."""
    demo = start("--fast")
    wait_for("2/5", demo.stdout)
    demo.terminate()
    _, err = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, err) == (143, "")
    assert processes_of(demo.pid) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_server_dies_with_a_demo_that_is_killed() -> None:
    """SIGKILL leaves us no time to stop anything; the kernel does."""
    demo = start("--fast")
    wait_for("1/5", demo.stdout)
    assert any("valkey-server" in command for command in processes_of(demo.pid))
    demo.kill()
    demo.communicate(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while processes_of(demo.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes_of(demo.pid) == []


def page(url: str) -> str:
    """What is served there."""
    with urllib.request.urlopen(url) as response:
        text: str = response.read().decode()
        return text


async def test_server_collector_and_scraper_of_ones_own_take_part() -> None:
    """--redis, --otlp and --prometheus together: the server is left alone, spans arrive nested, metrics are served."""
    port = free_port()
    async with Valkey() as server:
        with Receiver() as receiver:
            redis = f"redis://{server.host}:{server.port}/3"
            demo = start("--fast", "--redis", redis, "--otlp", receiver.endpoint, "--prometheus", str(port))
            wait_for("2/5", demo.stdout)
            metrics = await asyncio.to_thread(page, f"http://127.0.0.1:{port}/metrics")
            out, err = demo.communicate(timeout=PATIENCE)
        assert (demo.returncode, err) == (0, ""), out
        assert server.pid is not None
    assert "your server is left alone" in out
    assert "db_client_connection_max{" in metrics
    assert 'db_client_connection_pool_name="orders-cache"' in metrics
    assert "db.client.connection.wait_time" in {metric.name for _, _, metric in receiver.last_metrics()}
    spans = {span.span_id: span for _, _, span in receiver.spans()}
    nested = {(span.name, spans[span.parent_span_id].name) for span in spans.values() if span.parent_span_id in spans}
    assert {
        ("pool.acquire", "GET /orders/{id}"),
        ("pool.wait", "pool.acquire"),
        ("pool.create", "pool.acquire"),
        ("redis.connect", "pool.create"),
    } <= nested


class Terminal:
    """A pseudo-terminal of a given size with the demo in it."""

    def __init__(self, columns: int, lines: int, *options: str, term: str = "xterm-256color") -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "CI")}
        self.demo = subprocess.Popen(
            [*DEMO, "--fast", *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, "TERM": term, "PYTHONUTF8": "1"},
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def resize(self, columns: int, lines: int) -> None:
        termios.tcsetwinsize(self._ours, (lines, columns))

    def read(self, until: str = "") -> str:
        """Reads on until that was seen, or to the end."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not (until and until in self.seen):
            if select.select([self._ours], [], [], 0.1)[0]:
                try:
                    piece = os.read(self._ours, 65536)
                except OSError:  # how Linux says that nobody has the other end any more
                    break
                self.seen += piece.decode(errors="replace")
        return self.seen

    def close(self) -> int:
        """Waits for its end, and returns the exit code."""
        self.read()
        os.close(self._ours)
        return self.demo.wait(timeout=PATIENCE)


ENTER, LEAVE, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


def test_terminal_shows_the_live_view_and_then_the_report() -> None:
    """On the alternate screen, through a change of size, and the terminal is given back."""
    terminal = Terminal(80, 24)
    terminal.read(until="A surge")
    terminal.resize(140, 40)
    assert terminal.close() == 0
    assert ENTER in terminal.seen
    view, _, report = terminal.seen.partition(LEAVE)
    assert "burst_limit=12" in view
    assert SHOW_CURSOR in view + report
    assert "claims held" in report
    assert processes_of(terminal.demo.pid) == []


def test_ctrl_c_at_the_terminal_gives_it_back() -> None:
    """Typed as a key, in the middle of the live view."""
    terminal = Terminal(80, 24)
    terminal.read(until="burst: 9")
    os.kill(terminal.demo.pid, signal.SIGINT)
    assert terminal.close() == 130
    assert terminal.seen.count(ENTER) == terminal.seen.count(LEAVE) == 1
    assert SHOW_CURSOR in terminal.seen.partition(LEAVE)[2] + terminal.seen[-200:]
    assert "Traceback" not in terminal.seen
    assert processes_of(terminal.demo.pid) == []


def test_dumb_terminal_gets_plain_lines() -> None:
    """TERM=dumb can move no cursor."""
    terminal = Terminal(80, 24, term="dumb")
    terminal.read(until="2/5 A surge")
    terminal.demo.send_signal(signal.SIGINT)
    assert terminal.close() == 130
    assert "\x1b" not in terminal.seen
    assert "1/5 Calm" in terminal.seen
