"""The how-to of Datadog's page: its program is run as it says, and prints what it shows."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from instrumented_pool._demo._server import Valkey
from support.datadog_agent import Agent
from support.trace_agent import TraceAgent, ddtrace_run

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "datadog_quickstart.py"
URL = "redis://localhost:6379"


def block(containing: str) -> str:
    page = (ROOT / "docs" / "exporters" / "datadog.md").read_text()
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    return next(text for text in blocks if containing in text)


def trees(text: str) -> Counter[str]:
    """The trees that the test agent has drawn."""
    return Counter(re.findall(r"^\[order\]\n(?:[├│└].*\n)*", text, flags=re.MULTILINE))


def numberless(lines: str) -> Iterator[str]:
    """Lines of DogStatsD's protocol without values and weights, which differ from run to run."""
    return (re.sub(r":[\d.e-]+\||\|@[\d.e-]+", "|", line) for line in lines.splitlines())


def test_the_page_shows_the_example_as_it_is() -> None:
    """The file that is run here."""
    assert block("import asyncio") == EXAMPLE.read_text()


async def test_the_page_shows_what_arrives(
    trace_agent: TraceAgent, agent: Agent, server: Valkey, tmp_path: Path
) -> None:
    """At the test agent and at the port of the metrics, beside a real server."""
    script = tmp_path / EXAMPLE.name
    script.write_text(EXAMPLE.read_text().replace(URL, f"redis://{server.host}:{server.port}"))
    ddtrace_run(
        script, DD_ENV="dev", DD_TRACE_AGENT_URL=trace_agent.url, DD_DOGSTATSD_URL=f"udp://127.0.0.1:{agent.port}"
    )
    assert URL in EXAMPLE.read_text()
    assert trees(trace_agent.log()) == trees(block("[order]"))
    shown = set(numberless(block("_e{")))
    assert len(shown) == 6
    assert shown <= set(numberless("\n".join(agent.lines())))
