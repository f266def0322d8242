"""Each alert has its page, and each query on it an answer in the fault that the alert is for."""

import re

import pytest

from support.faults import ENDS, Fault
from support.matrix import EVERY, EXPECTED, PAGE, Seen
from support.promtest import check
from support.rules import ALERTS, PREFIX, RUNBOOKS, queries_of

LATE_IN_THE_FAULT = f"{ENDS - 60:.0f}s"


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    """And the index and the page of the alerts list just these, with their severities."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {*ALERTS, "README"}
    assert re.findall(r"^\| \[(\w+)\]\(\1\.md\)", (RUNBOOKS / "README.md").read_text(), re.MULTILINE) == list(ALERTS)
    listed = re.findall(r"^\| \[`(\w+)`\]\(runbooks/\1\.md\) \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert listed == [(alert, rule["labels"]["severity"]) for alert, rule in ALERTS.items()]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_has_what_is_looked_for_at_night(alert: str) -> None:
    """What it means, whether it is urgent, what to ask, what to do; on one screen."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n\n**It means**: ")
    assert ("**Urgent?** Yes" in text) == (ALERTS[alert]["labels"]["severity"] == "critical")
    assert re.findall(r"^## .*", text, re.MULTILINE) == ["## Ask", "## Do"]
    assert len(text.splitlines()) <= 70


@pytest.mark.parametrize("alert", ALERTS)
def test_the_queries_of_a_page_have_answers_while_its_alert_fires(alert: str, seen: dict[Fault, Seen]) -> None:
    """In the last minute of the first fault that fires it."""
    fault = next(fault for fault, fires in EXPECTED.items() if alert.removeprefix(PREFIX) in fires)
    queries = queries_of(RUNBOOKS / f"{alert}.md")
    assert len(queries) >= 3
    answered = {"eval_time": LATE_IN_THE_FAULT, "exp_samples": [{"labels": "{}", "value": 1}]}
    asked = [{"expr": f"count({query}) > bool 0", **answered} for query in queries]
    assert not check(seen[fault].series, every=EVERY, expressions=asked)
