"""The fault × alert matrix: a real pool under each fault, and which alerts fire."""

import pytest

from support.faults import Fault
from support.matrix import EXPECTED, PAGE, Seen, published, reasons, title
from support.pages import section
from support.rules import ALERTS, PREFIX


@pytest.mark.parametrize("fault", EXPECTED, ids=title)
def test_only_the_expected_alerts_fire(fault: Fault, seen: dict[Fault, Seen]) -> None:
    """As scraped from `PoolCollector` and as sent by OpenTelemetry's SDK."""
    assert {job: set(minutes) for job, minutes in seen[fault].by_job.items()} == {
        "ours": set(EXPECTED[fault]),
        "theirs": set(EXPECTED[fault]),
    }


def test_every_alert_fires_in_a_fault() -> None:
    """None is there that no fault of ours has shown to work."""
    assert {PREFIX + alert for fires in EXPECTED.values() for alert in fires} == set(ALERTS)


@pytest.mark.parametrize("fault", EXPECTED, ids=title)
def test_the_page_shows_the_matrix(fault: Fault, seen: dict[Fault, Seen]) -> None:
    """The same alerts, and within two minutes the same time: other versions of Python run tasks in another order."""
    on_the_page, now = published()[title(fault)], seen[fault].minutes
    assert set(on_the_page) == set(now)
    assert on_the_page == pytest.approx(now, abs=2)


def test_the_page_gives_the_reasons() -> None:
    """Those that the expectation gives."""
    assert section(PAGE, "reasons") == reasons()
