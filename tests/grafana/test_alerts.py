"""Each alert fires when it should, not just below, and ends; by Prometheus's own engine, on series of a few numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from support.promtest import check, rendered, selector
from support.rules import ALERTS, PREFIX

OURS = {"job": "shop", "instance": "shop-1", "db_client_connection_pool_name": "orders"}


def series(name: str, values: str, **labels: str) -> tuple[str, str]:
    """One of the pool's, a value each minute, in promtool's notation: `0+3x60` is 0, 3, 6 … 180."""
    return selector(name, OURS | labels), values


def count(values: str, state: str) -> tuple[str, str]:
    return series("db_client_connection_count", values, db_client_connection_state=state)


def acquires(values: str, outcome: str = "timeout") -> tuple[str, str]:
    labels = {"instrumented_pool_acquire_outcome": outcome, "instrumented_pool_acquire_source": ""}
    return series("instrumented_pool_acquires_total", values, **labels)


def creates(values: str, outcome: str) -> tuple[str, str]:
    return series("instrumented_pool_creates_total", values, instrumented_pool_create_outcome=outcome)


def closes(values: str, reason: str) -> tuple[str, str]:
    return series("instrumented_pool_closes_total", values, instrumented_pool_close_reason=reason)


def waits(all_of_them: str, in_time: str) -> tuple[tuple[str, str], ...]:
    """Those who were served: all, and those within 250 ms."""
    name = "db_client_connection_wait_time_seconds"
    return series(f"{name}_bucket", in_time, le="0.25"), series(f"{name}_count", all_of_them)


NOBODY_FAILS = acquires("0x2000")
FOUR_A_SECOND = (NOBODY_FAILS, *waits("0+240x30", "0+240x30"))
NOBODY_IS_SERVED = (NOBODY_FAILS, *waits("7x30", "7x30"))
LENT_9_OF_10 = (series("db_client_connection_max", "10x30"), count("9x30", "used"), count("1x30", "idle"))
LENT_8_OF_10 = (series("db_client_connection_max", "10x30"), count("8x30", "used"), count("2x30", "idle"))
EIGHT_CONNECTIONS = (
    count("8x60", "idle"),
    count("0x60", "used"),
    series("instrumented_pool_connection_creating", "0x60"),
    series("instrumented_pool_connection_closing", "0x60"),
)


HANGS_NOT = series("instrumented_pool_connection_creating", "0x60")
NO_CONNECTION = (
    count("0 0 0 1 " * 15, "idle"),
    count("0x60", "used"),
    series("instrumented_pool_connection_creating", "0x60"),
    series("instrumented_pool_connection_closing", "0x60"),
)


@dataclass(frozen=True)
class Case:
    """What a pool shows, and at which minutes its alert is firing."""

    alert: str
    what: str
    series: tuple[tuple[str, str], ...]
    at: Mapping[int, bool]


def pending(values: str) -> tuple[str, str]:
    return series("db_client_connection_pending_requests", values)


def oldest_hold(values: str) -> tuple[str, str]:
    return series("instrumented_pool_oldest_hold_seconds", values)


def close_errors(values: str) -> tuple[str, str]:
    return series("instrumented_pool_close_errors_total", values)


CASES = [
    Case(
        "Exhausted",
        "nine of ten are lent and now and then four queue, then nobody",
        (*LENT_9_OF_10, *FOUR_A_SECOND, pending(f"{'4 0 ' * 5}0x20")),
        {2: False, 4: True, 10: True, 18: False},
    ),
    Case(
        "Exhausted",
        "nobody is served any more and one queues",
        (*LENT_9_OF_10, *NOBODY_IS_SERVED, pending("1x30")),
        {4: True},
    ),
    Case(
        "Exhausted",
        "as many queue as are served in 250 ms, no more",
        (*LENT_9_OF_10, *FOUR_A_SECOND, pending("1x30")),
        {10: False, 30: False},
    ),
    Case(
        "Exhausted", "eight of ten are lent", (*LENT_8_OF_10, *FOUR_A_SECOND, pending("2x30")), {10: False, 30: False}
    ),
    Case(
        "WaitsBurnFast",
        "15 of 1000 wait too long for an hour, then nobody",
        (NOBODY_FAILS, *waits("0+1000x150", "0+985x60 59100+1000x90")),
        {1: False, 60: True, 100: False},
    ),
    Case(
        "WaitsBurnFast",
        "15 of 1000 do in the last hour of seven",
        (NOBODY_FAILS, *waits("0+1000x430", "0+1000x359 360000+985x70")),
        {390: False, 425: True},
    ),
    Case(
        "WaitsBurnFast",
        "14 of 1000 do in the last hour of seven",
        (NOBODY_FAILS, *waits("0+1000x430", "0+1000x359 360000+986x70")),
        {390: False, 425: False, 430: False},
    ),
    Case(
        "WaitsBurnFast",
        "one of ten does, for three minutes only",
        (NOBODY_FAILS, *waits("0+1000x90", "0+1000x59 60000+900x3 63700+1000x30")),
        {60: False, 62: False, 64: False, 70: False},
    ),
    Case(
        "WaitsBurnFast",
        "5 of 1000 do for six hours",
        (NOBODY_FAILS, *waits("0+1000x400", "0+995x400")),
        {60: False, 400: False},
    ),
    Case(
        "WaitsBurnFast",
        "7 of 1000 do for six hours",
        (NOBODY_FAILS, *waits("0+1000x400", "0+993x400")),
        {60: True, 400: True},
    ),
    Case(
        "WaitsBurnFast",
        "nine of nine do in an hour",
        (NOBODY_FAILS, *waits("0+3x3 9x100", "0x103")),
        {5: False, 10: False, 60: False},
    ),
    *(
        Case(
            "WaitsBurnFast",
            f"all end in {outcome}, and no wait was ever shown",
            (acquires("0+10x30", outcome), acquires("0x30", "cancelled")),
            {10: True},
        )
        for outcome in ("timeout", "create_error", "queue_full", "deadlock")
    ),
    Case(
        "WaitsBurnFast",
        "all are cancelled or meet a pool that closes",
        (acquires("0+10x30", "cancelled"), acquires("0+10x30", "pool_closed"), NOBODY_FAILS, *waits("0x30", "0x30")),
        {10: False, 30: False},
    ),
    Case(
        "WaitsBurnSlow",
        "one of 20 waits too long for an hour, then one of 10000",
        (NOBODY_FAILS, *waits("0+10000x500", "0+9500x60 570000+9999x440")),
        {10: False, 60: True, 300: True, 480: False},
    ),
    Case("WaitsBurnSlow", "11 of 10000 do", (NOBODY_FAILS, *waits("0+10000x60", "0+9989x60")), {10: False, 60: True}),
    Case("WaitsBurnSlow", "9 of 10000 do", (NOBODY_FAILS, *waits("0+10000x60", "0+9991x60")), {60: False}),
    Case(
        "BurstSustained",
        "five minutes of six are burst, then none",
        (series("instrumented_pool_bursting", f"{'1 1 1 1 1 0 ' * 10}0x30"),),
        {3: False, 30: True, 70: False},
    ),
    Case(
        "BurstSustained",
        "three of four are",
        (series("instrumented_pool_bursting", "0 1 1 1 " * 15),),
        {20: False, 40: False, 59: False},
    ),
    Case(
        "CreationFailing",
        "six of eleven attempts fail, then none",
        (creates("0+6x30 180x20", "failed"), creates("0+5x50", "created"), HANGS_NOT),
        {2: False, 10: True, 40: False},
    ),
    Case(
        "CreationFailing",
        "five of ten do",
        (creates("0+5x30", "failed"), creates("0+5x30", "created"), HANGS_NOT),
        {10: False, 30: False},
    ),
    Case(
        "CreationFailing",
        "all of two do",
        (creates("0 1 2 2x30", "failed"), creates("0x30", "created"), HANGS_NOT),
        {4: False, 5: False, 10: False},
    ),
    Case(
        "CreationFailing",
        "one hangs and none ends, until it does",
        (
            creates("0x30", "failed"),
            creates("7x20 8x10", "created"),
            series("instrumented_pool_connection_creating", "0 1x19 0x10"),
        ),
        {2: False, 10: True, 22: False},
    ),
    Case(
        "CreationFailing",
        "somebody always connects, and some succeed",
        (
            creates("0x30", "failed"),
            creates("0+1x30", "created"),
            series("instrumented_pool_connection_creating", "1x30"),
        ),
        {10: False, 30: False},
    ),
    Case(
        "LeakSuspected",
        "one is suspected, and held until it comes back",
        (series("instrumented_pool_leaks_suspected_total", "0x9 1x60"), oldest_hold("0+60x40 0x20")),
        {9: False, 12: True, 39: True, 45: False},
    ),
    Case(
        "LeakSuspected",
        "one is suspected, and comes back at once",
        (series("instrumented_pool_leaks_suspected_total", "0x4 1x60"), oldest_hold("0 0 0 0 60 120 0x60")),
        {4: False, 8: True, 20: False},
    ),
    Case(
        "LeakSuspected",
        "one is held for an hour, and nobody says that it should not",
        (series("instrumented_pool_leaks_suspected_total", "0x60"), oldest_hold("0+60x60")),
        {30: False, 60: False},
    ),
    Case(
        "LeakSuspected",
        "one was suspected long ago, and now one is held for ten minutes",
        (series("instrumented_pool_leaks_suspected_total", "1x60"), oldest_hold("600x60")),
        {30: False, 60: False},
    ),
    Case(
        "CloseErrors",
        "three of 29 closes fail, then none",
        (close_errors("0 1 2 3x60"), closes("0 13 26 29x60", "lifetime"), closes("0x60", "stale")),
        {5: False, 10: True, 20: False},
    ),
    Case(
        "CloseErrors",
        "three of 30 do",
        (close_errors("0 1 2 3x60"), closes("0 10 20 30x60", "lifetime"), closes("0x60", "stale")),
        {10: False, 14: False},
    ),
    Case(
        "CloseErrors",
        "two of two do",
        (close_errors("0 1 2x60"), closes("0 1 2x60", "lifetime")),
        {10: False, 14: False},
    ),
    Case(
        "Churn",
        "five of eight are replaced each minute, then none",
        (*EIGHT_CONNECTIONS, closes("0+5x30 150x30", "stale"), closes("0x60", "shrink")),
        {3: False, 15: True, 45: False},
    ),
    Case(
        "Churn",
        "39 of eight are replaced in ten minutes",
        (*EIGHT_CONNECTIONS, closes("0+3.9x60", "stale"), closes("0x60", "shrink")),
        {15: False, 60: False},
    ),
    Case(
        "Churn",
        "many are given up after bursts, and cleared",
        (*EIGHT_CONNECTIONS, closes("0+50x60", "shrink"), closes("0+50x60", "cleared"), closes("0x60", "stale")),
        {15: False, 60: False},
    ),
    Case(
        "Churn",
        "nine are replaced in ten minutes, of a pool that has one now and then",
        (*NO_CONNECTION, closes("0+0.9x60", "idle")),
        {15: False, 60: False},
    ),
    Case(
        "ObserverFailing",
        "one raises once",
        (series("instrumented_pool_observer_errors_total", "0x4 1x60"),),
        {4: False, 12: True, 25: False},
    ),
    Case(
        "ObserverFailing",
        "one raised long ago",
        (series("instrumented_pool_observer_errors_total", "1x60"),),
        {12: False, 60: False},
    ),
    Case(
        "MetricsMissing",
        "the only instance shows a pool, then none, then one again",
        (series("db_client_connection_max", "8x10 stale _x39 8x30"),),
        {10: False, 19: False, 25: True, 55: False},
    ),
    Case(
        "MetricsMissing",
        "one instance goes and another comes",
        (
            series("db_client_connection_max", "8x10 stale"),
            series("db_client_connection_max", "_x11 8x50", instance="shop-2"),
        ),
        {25: False, 60: False},
    ),
    Case(
        "MetricsMissing",
        "a job that was there and one that is",
        (
            series("db_client_connection_max", "8x10 stale"),
            series("db_client_connection_max", "8x400", job="another"),
        ),
        {25: True, 400: False},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.what}")
def test_alert_fires_and_is_silent_as_it_should(case: Case) -> None:
    """At each of the minutes."""
    expr = f'count(ALERTS{{alertname="{PREFIX}{case.alert}",alertstate="firing"}}) or vector(0)'
    assert not check(
        dict(case.series),
        every="1m",
        expressions=[
            {"expr": expr, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
            for minute, fires in case.at.items()
        ],
    )


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_seen_to_fire_to_stay_silent_and_to_end(alert: str) -> None:
    """In the cases above."""
    of_it = [list(case.at.values()) for case in CASES if PREFIX + case.alert == alert]
    assert any(True in fires for fires in of_it)
    assert any(True not in fires for fires in of_it)
    assert any(fires[-3:] == [False, True, False] or fires[-2:] == [True, False] for fires in of_it)


@pytest.mark.parametrize("alert", ALERTS)
def test_what_an_alert_says_is_filled_in(alert: str) -> None:
    """Whose pool it is, with a number in words, and the path of its page."""
    case = next(case for case in CASES if PREFIX + case.alert == alert and True in case.at.values())
    minute = next(minute for minute, fires in case.at.items() if fires)
    said = rendered(dict(case.series), alert, every="1m", at=f"{minute}m")
    summary, description = (re.findall(rf'{name}="(.*?)"[,}}]', said)[0] for name in ("summary", "description"))
    assert f'severity="{ALERTS[alert]["labels"]["severity"]}"' in said
    assert "shop" in summary
    assert alert == f"{PREFIX}MetricsMissing" or "orders" in summary
    assert re.search(r"\d", description)
    assert not re.search(r"\{\{|no value|NaN|Inf|error", summary + description)
