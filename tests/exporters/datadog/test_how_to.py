"""The how-to of Datadog's page: its program is run as it says, and prints what it shows."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from instrumented_pool._servers import Valkey
from support.datadog_agent import Agent
from support.pages import DOCS, ROOT, as_on_the_page, block
from support.trace_agent import TraceAgent, ddtrace_run

PAGE = DOCS / "exporters" / "datadog.md"
EXAMPLE = ROOT / "examples" / "datadog_quickstart.py"
URL = "redis://localhost:6379"
KEYS = {"DD_API_KEY": "1", "DD_APP_KEY": "2", "DD_SITE": "datadoghq.com"}


def trees(text: str) -> Counter[str]:
    """The trees that the test agent has drawn."""
    return Counter(re.findall(r"^\[order\]\n(?:[├│└].*\n)*", text, flags=re.MULTILINE))


def numberless(lines: str) -> Iterator[str]:
    """Lines of DogStatsD's protocol without values and weights, which differ from run to run."""
    return (re.sub(r":[\d.e-]+\||\|@[\d.e-]+", "|", line) for line in lines.splitlines())


def test_the_page_shows_the_example_as_it_is() -> None:
    """The file that is run here."""
    assert block(PAGE, "python", "import asyncio") == EXAMPLE.read_text()


async def test_the_page_shows_what_arrives(
    trace_agent: TraceAgent, agent: Agent, server: Valkey, tmp_path: Path
) -> None:
    """At the test agent and at the port of the metrics, beside a real server."""
    script = tmp_path / EXAMPLE.name
    script.write_text(EXAMPLE.read_text().replace(URL, f"redis://{server.host}:{server.port}"))
    ddtrace_run(
        script,
        DD_ENV="dev",
        DD_TRACE_AGENT_URL=trace_agent.url,
        DD_AGENT_HOST="127.0.0.1",
        DD_DOGSTATSD_PORT=str(agent.port),
    )
    assert URL in EXAMPLE.read_text()
    assert trees(trace_agent.log.read_text()) == trees(block(PAGE, "", "[order]"))
    shown = set(numberless(block(PAGE, "", "_e{")))
    assert len(shown) == 6
    assert shown <= set(numberless(as_on_the_page("\n".join(agent.lines()), server)))


def test_the_page_posts_the_dashboard_and_every_monitor() -> None:
    """Its commands are run, but for what would leave the machine."""
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    commands = "curl() { pwd; echo $*; }\n" + block(PAGE, "", "api dashboard")
    done = subprocess.run(["sh", "-eu", "-c", commands], env=here | KEYS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    posted = re.findall(r"^(/.+)\n.*-d @(\S+) https://api\.datadoghq\.com/api/v1/(\w+)$", done.stdout, re.MULTILINE)
    assert [kind for _, _, kind in posted] == ["dashboard", *["monitor"] * 5]
    assert all((Path(directory) / file).is_file() for directory, file, _ in posted)
