"""The dashboard and the monitors beside the exporter: as they are built, and of what a pool sends."""

import json
import runpy
from importlib.resources import files
from pathlib import Path

import pytest

from instrumented_pool import PoolTimeoutError
from instrumented_pool.metrics import COUNTS, DURATIONS
from instrumented_pool.testing import FakeStrategy
from instrumented_pool_datadog import DatadogObserver
from support.datadog_agent import Agent, Clock, ticks, use
from support.datadog_assets import VALUES, Json, faults, metrics_in
from support.fakes import MakePool

TOOL = Path(__file__).parents[3] / "tools" / "datadog_assets.py"
ASSETS = files("instrumented_pool_datadog") / "assets"
BUILT: dict[str, Json] = runpy.run_path(str(TOOL))["documents"]()
DASHBOARD = "dashboards/connection_pools.json"


@pytest.mark.parametrize("path", BUILT)
def test_what_is_installed_is_what_is_built(path: str) -> None:
    """`make datadog-assets` writes it again."""
    assert json.loads(ASSETS.joinpath(path).read_text()) == BUILT[path]


def test_nothing_else_is_installed() -> None:
    """What is no longer built has to go."""
    found = {
        f"{folder.name}/{file.name}" for folder in ASSETS.iterdir() for file in folder.iterdir() if folder.is_dir()
    }
    assert found == BUILT.keys()


@pytest.mark.parametrize("path", BUILT)
def test_datadog_takes_it_and_every_query_is_of_what_is_sent(path: str) -> None:
    """Deserialised by Datadog's own client, and checked against the tables of names."""
    assert faults(BUILT[path]) == []


def test_every_metric_is_on_the_dashboard() -> None:
    """What is sent and never looked at is paid for in vain."""
    assert metrics_in(BUILT[DASHBOARD]) == {metric.name for metric in (*COUNTS, *DURATIONS)}


def test_what_is_wrong_with_a_pool_has_a_monitor() -> None:
    """Each in a file of its own, as the API takes them."""
    assert {path.removeprefix("monitors/pool_").removesuffix(".json") for path in BUILT if "monitors" in path} == {
        "burst_sustained",
        "creation_failing",
        "exhausted",
        "leak_suspected",
        "timeouts",
    }


async def test_tags_of_the_checks_are_those_that_arrive(agent: Agent, build: MakePool) -> None:
    """From a pool to which everything happens: no key and no value but those that queries are checked against."""
    strategy = FakeStrategy(close_steps=0)
    clock = Clock()
    pool = build(DatadogObserver("orders", statsd=agent.client), strategy=strategy, burst_limit=2)
    strategy.create_errors.append(OSError("no"))
    with pytest.raises(OSError, match="no"):
        await use(pool)
    async with pool.get_connection(), pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
    await ticks(3)
    await use(pool)
    await clock.advance(100)
    await pool.close()
    sent: dict[str, set[str]] = {}
    for metric in agent.metrics():
        for tag in metric.tags if not metric.name.startswith("orders.") else ():
            key, _, value = tag.partition(":")
            sent.setdefault(key, set()).add(value)
    assert sent.pop("pool") == {"orders-db"}
    assert sent.pop("service") == {"orders"}
    assert sent.pop("observer", {"DatadogObserver"}) == {"DatadogObserver"}  # one event in many is timed
    assert sent.keys() == VALUES.keys()
    assert all(sent[key] <= VALUES[key] for key in sent)


# ---------------------------------------------------------------------- the checks themselves


D, M = DASHBOARD, "monitors/pool_{}.json"


@pytest.mark.parametrize(
    ("path", "right", "wrong", "fault"),
    [
        (D, "connection.wait_time", "connection.wait_times", "no such metric: db.client.connection.wait_times"),
        (D, "{state:used", "{status:used", "db.client.connection.count has no tag status"),
        (D, "{state:used", "{state:busy", "state is never busy"),
        (D, "by {reason}", "by {cause}", "instrumented_pool.closes has no tag cause"),
        (D, "by {outcome,source}", "by {outcome;source}", "instrumented_pool.acquires has no tag outcome;source"),
        (D, "$service,$pool}", "$service,$pools}", "no such variable: $pools"),
        (D, '"prefix": "pool"', '"prefix": "database"', "the variable pool selects by database, which no metric has"),
        (D, ".as_count()", "", "instrumented_pool.bursts is to be counted"),
        (
            D,
            "bursting{$env,$service,$pool} by {service,pool}",
            "bursting{*}.as_count()",
            "bursting is not to be counted",
        ),
        (
            D,
            "p95:db.client.connection.wait_time",
            "p95:instrumented_pool.bursting",
            "is no distribution, and has no p95",
        ),
        (D, "p95:db", "95:db", "no query: 95:db"),
        (D, "100 * lent / most", "100 * lent / limit", "formulas use ['lent', 'limit'], and the queries are"),
        (D, '"title": "Waiting"', '"title": ""', "a timeseries has no title"),
        (D, '"type": "timeseries"', '"type": "timeserie"', "cannot be parsed"),
        (D, '"display_type": "bars"', '"display_type": "bar"', "cannot be parsed"),
        (D, '"response_format": "timeseries"', '"response_format": "series"', "cannot be parsed"),
        (D, '"show_legend"', '"show_legends"', "show_legends is unknown"),
        (D, '"reflow_type": "auto"', '"reflow_type": "automatic"', "cannot be parsed"),
        (D, '"include_zero": true', '"include_zero": "yes"', "cannot be parsed"),
        (M.format("exhausted"), "by {service,pool,host}", "by {service,pool}", "{{host.name}} is said"),
        (M.format("exhausted"), "{*}", "{region:x}", "db.client.connection.pending_requests has no tag region"),
        (M.format("timeouts"), "sum(last_5m)", "avg(last_5m)", "counts are added up, not avg"),
        (M.format("timeouts"), "sum(last_5m)", "sum(last_5)", "no alert: sum(last_5)"),
        (M.format("timeouts"), "query alert", "query alarm", "cannot be parsed"),
        (M.format("leak_suspected"), "leaks_suspected", "leaks", "no such metric: instrumented_pool.leaks"),
        (M.format("leak_suspected"), '"resolve"', '"resolved"', "cannot be parsed"),
        (M.format("leak_suspected"), '"on_missing_data"', '"on_missing"', "on_missing is unknown"),
        (M.format("creation_failing"), "> 3", "> 5", "the query's threshold is not the critical one: 5"),
        (M.format("creation_failing"), "outcome:failed", "outcome:broken", "outcome is never broken"),
        (M.format("burst_sustained"), '"critical": 1', '"critical": "1"', "Required value type is float"),
    ],
)
def test_mistake_is_found(path: str, right: str, wrong: str, fault: str) -> None:
    """Each of them would be an empty graph, a silent monitor, or refused."""
    text = json.dumps(BUILT[path])
    assert right in text
    found = faults(json.loads(text.replace(right, wrong)))
    assert any(fault in each for each in found), found
