"""The rules are what Prometheus takes, in the names that our exporters use, and say what an alert has to say."""

import asyncio
import re

import pytest
from prometheus_client import CollectorRegistry

from instrumented_pool import BOUNDS, ConnectionPool
from instrumented_pool.testing import FakeStrategy
from instrumented_pool_prometheus import PoolCollector
from support.prometheus import promtool
from support.rules import ALERTS, RECORDS, RULES, RUNBOOKS, queries_of

EXPRESSIONS = {
    **RECORDS,
    **{name: str(rule["expr"]) for name, rule in ALERTS.items()},
    **{
        f"{page.stem}.md {number}": query
        for page in sorted(RUNBOOKS.glob("*.md"))
        for number, query in enumerate(queries_of(page), 1)
    },
}
OF_PROMETHEUS = {"job", "instance", "namespace", "alertname", "alertstate"}


class Shown:
    """What a scrape of a pool shows: the names of its series, and the values of each label."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        collector = PoolCollector()
        registry.register(collector)
        self.pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[collector])
        asyncio.run(self._borrow())
        samples = [sample for family in registry.collect() for sample in family.samples]
        self.names = {sample.name for sample in samples}
        self.labels: dict[str, set[str]] = {}
        for sample in samples:
            for label, value in sample.labels.items():
                self.labels.setdefault(label, set()).add(value)

    async def _borrow(self) -> None:
        async with self.pool, self.pool.get_connection():
            pass


@pytest.fixture(scope="module")
def shown() -> Shown:
    return Shown()


def test_promtool_takes_the_rules() -> None:
    """Without a complaint, its lint included."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("of", EXPRESSIONS)
def test_only_names_that_are_shown_are_used(of: str, shown: Shown) -> None:
    """Of series, of labels, and of the values of labels: whoever renames one in the table meets this test."""
    expression = EXPRESSIONS[of]
    words = re.sub(r'"[^"]*"', "", expression)
    for name in re.findall(r"\b(?:db_client_|instrumented_pool)[\w:]*", words):
        assert name in shown.names | set(shown.labels) | set(RECORDS), name
    for label, values in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', expression):
        known = set(map(str, BOUNDS)) if label == "le" else shown.labels[label]
        assert set(values.split("|")) <= known, (label, values)
    for labels in re.findall(r"\b(?:by|without|on|ignoring) \(([^)]*)\)", words):
        assert set(labels.split(", ")) <= {*shown.labels, *OF_PROMETHEUS}, labels


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_all_that_a_pager_needs(alert: str) -> None:
    """How bad, for how long, what, and where to read on."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert re.fullmatch(r"\d+m", rule["for"])
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"
