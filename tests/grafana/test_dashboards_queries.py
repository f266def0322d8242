"""Every expression of the dashboards, read by promtool and asked of a real Prometheus that saw the demo's story."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.boards import NAMES, expressions, filled, load
from support.prometheus import Labels, promtool
from support.story import BREAK, CALM, FORGET, KILL, STALL, SURGE, Story, staged

PACE = 0.4  # of the demo's
EVERY = 0.2  # seconds between scrapes
INTERVAL = "1s"  # for $__rate_interval

EXPRESSIONS = {(name, where): expr for name in NAMES for where, expr in expressions(load(name))}


# Queries of panels that have nothing to show from the first act on: the act in which they surely have, and the act
# before which they must not. A gauge is asked for in an act in which it stays for many scrapes.
TABLE = [
    ("pool-fleet", "How many are full?", "A", FORGET, SURGE),
    ("pool-fleet", "How many burst?", "A", FORGET, SURGE),
    ("pool-fleet", "How many callers wait?", "A", FORGET, SURGE),
    ("pool-fleet", "Does anybody give up?", "A", FORGET, FORGET),
    ("pool-fleet", "Do connects fail?", "A", KILL, KILL),
    ("pool-fleet", "Which pool is the worst?", "AB", FORGET, CALM),
    ("pool-fleet", "Which pool is the worst?", "CK", FORGET, SURGE),
    ("pool-fleet", "Which pool is the worst?", "I", FORGET, FORGET),
    ("pool-fleet", "Which pool is the worst?", "J", KILL, KILL),
    ("pool-fleet", "Which pools are full?", "A", FORGET, CALM),
    ("pool-fleet", "Who waits?", "A", FORGET, SURGE),
    ("pool-fleet", "Where do callers give up?", "A", FORGET, FORGET),
    ("pool-fleet", "What else fails?", "AB", KILL, KILL),
    ("pool-fleet", "What else fails?", "C", BREAK, BREAK),
    ("pool-fleet", "Which pools burst?", "A", FORGET, SURGE),
    ("pool-detail", "Do callers give up?", "A", FORGET, FORGET),
    ("pool-detail", "Is it full?", "A", FORGET, CALM),
    ("pool-detail", "Can it connect?", "A", KILL, KILL),
    ("pool-detail", "How old is a hold?", "A", FORGET, CALM),
    ("pool-detail", "Is it watched well?", "A", BREAK, BREAK),
    ("pool-detail", "Who got no connection, and why?", "A", FORGET, FORGET),
    ("pool-detail", "Is there room?", "A", FORGET, CALM),
    ("pool-detail", "Is there room?", "C", STALL, CALM),
    ("pool-detail", "Is there room?", "D", BREAK, CALM),
    ("pool-detail", "How long is the queue?", "A", FORGET, SURGE),
    ("pool-detail", "How often does it burst?", "A", SURGE, SURGE),
    # OpenTelemetry's histograms begin with their first record, which is no rise: a rate misses the first creations.
    ("pool-detail", "How long does a connection take to make?", "ABC", SURGE, CALM),
    ("pool-detail", "Do connects fail?", "A", KILL, KILL),
    ("pool-detail", "How long has the oldest hold lasted?", "A", FORGET, CALM),
    ("pool-detail", "Are leaks suspected?", "A", FORGET, FORGET),
    ("pool-detail", "Why are connections closed?", "A", SURGE, SURGE),
    ("pool-detail", "Do closes fail?", "A", BREAK, BREAK),
    ("pool-detail", "Do observers fail?", "A", BREAK, BREAK),
    ("pool-detail", "Shaded: bursts", "A", SURGE, SURGE),
]
CONCERNS = {(name, f"{title} {ref}"): act for name, title, refs, act, _ in TABLE for ref in refs}
QUIET_BEFORE = {(name, f"{title} {ref}"): quiet for name, title, refs, _, quiet in TABLE for ref in refs}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def story() -> AsyncIterator[Story]:
    """One for all tests."""
    async with staged(pace=PACE, every=EVERY) as story:
        await story.play()
        yield story


async def shown(story: Story, expr: str, act: int, job: str = "ours") -> dict[Labels, list[float]]:
    """The series that an expression had something to show of in an act: numbers above 0."""
    start, end = story.acts[act]
    found = await story.prometheus.history(filled(expr, INTERVAL, job=job), start, end, EVERY)
    drawn = {labels: [value for value in values if value > 0] for labels, values in found.items()}
    return {labels: values for labels, values in drawn.items() if values}


def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    """As rules, which is how promtool reads expressions."""
    assert refused_by_promtool(tmp_path, list(EXPRESSIONS.values())) == ""


def test_promtool_refuses_what_is_wrong(tmp_path: Path) -> None:
    """The test above would notice."""
    wrong = [expr.replace("sum", "summe") for expr in EXPRESSIONS.values() if "sum" in expr]
    assert "could not parse" in refused_by_promtool(tmp_path, wrong[:1])


def refused_by_promtool(directory: Path, exprs: list[str]) -> str:
    rules = [{"record": f"dashboards:{number}", "expr": filled(expr)} for number, expr in enumerate(exprs)]
    (directory / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = promtool("check", "rules", directory / "rules.json")
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", EXPRESSIONS, ids=" ".join)
async def test_shows_something_in_the_act_that_concerns_it(story: Story, asked: tuple[str, str]) -> None:
    """And nothing before something goes wrong."""
    assert await shown(story, EXPRESSIONS[asked], CONCERNS.get(asked, CALM))
    for before in range(QUIET_BEFORE.get(asked, CALM)):
        assert await shown(story, EXPRESSIONS[asked], before) == {}, before


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", EXPRESSIONS, ids=" ".join)
async def test_shows_the_same_of_opentelemetrys_metrics(story: Story, asked: tuple[str, str]) -> None:
    """The same series in the act that concerns it, though OpenTelemetry's exporter gives them more labels."""
    act = CONCERNS.get(asked, CALM)
    ours, theirs = await asyncio.gather(*(shown(story, EXPRESSIONS[asked], act, job) for job in ("ours", "theirs")))
    assert ours.keys() == theirs.keys()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("where", ["How long did callers wait? A", "How long is a connection used? C"])
async def test_exemplars_lead_to_traces_that_exist(story: Story, where: str) -> None:
    """Found by the expression of the panel, as Grafana asks for them."""
    expr = filled(EXPRESSIONS["pool-detail", where], INTERVAL, job="ours")
    found = {exemplar.labels["trace_id"] for exemplar in await story.prometheus.exemplars(expr)}
    assert found
    assert found <= story.traces


def test_every_exception_names_an_expression() -> None:
    """The table above speaks of panels that there are."""
    assert CONCERNS.keys() <= EXPRESSIONS.keys()
