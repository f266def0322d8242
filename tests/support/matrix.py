"""Which alerts fire in which fault: what is expected and why, what was seen, and the page that shows it."""

import inspect
import logging
import multiprocessing
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

from . import faults
from .faults import BEGINS, JOBS, OVER, SCRAPE, Fault, hour_of
from .pages import DOCS, table_in, write_section
from .promtest import Series, first_fired
from .rules import ALERTS, PREFIX

PAGE = DOCS / "alerts.md"
EVERY = f"{SCRAPE}s"

Minutes: TypeAlias = Mapping[str, int]
"""How many minutes after the beginning of the fault each alert was firing, without the prefix of its name."""

_BUDGET = "half an hour of it is more than a tenth of what a month allows"

EXPECTED: Mapping[Fault, Mapping[str, str]] = {
    faults.healthy: {},
    faults.pool_too_small: {
        "Exhausted": "its own",
        "WaitsBurnFast": "callers wait for seconds, and some in vain",
        "WaitsBurnSlow": _BUDGET,
    },
    faults.server_slow: {"BurstSustained": "its own; the burst is what saves the callers from waiting"},
    faults.server_down: {
        "CreationFailing": "its own",
        "WaitsBurnFast": "who asks gets the server's refusal instead of a connection",
        "WaitsBurnSlow": _BUDGET,
    },
    faults.leak: {"LeakSuspected": "its own; there are connections enough for the others"},
    faults.hung_close: {"CloseErrors": "its own"},
    faults.flapping_network: {
        "Churn": "its own",
        "WaitsBurnSlow": "one caller in two hundred asks at the wrong moment: five times what the objective allows,"
        " and too few to wake anybody",
    },
    faults.failing_observer: {"ObserverFailing": "its own; no caller is hurt"},
    faults.lost_metrics: {"MetricsMissing": "its own; the pool itself is well"},
}
"""The alerts that have to fire in each fault, with the reason; no other may."""


@dataclass(frozen=True)
class Seen:
    """What an hour of a fault looked like to Prometheus.

    Attributes:
        series: what it scraped.
        by_job: what fired, by the job that it was scraped as.
    """

    series: Series
    by_job: Mapping[str, Minutes]

    @property
    def minutes(self) -> Minutes:
        """As scraped from `PoolCollector`."""
        return self.by_job["ours"]


def see_all() -> dict[Fault, Seen]:
    """Put a pool through every fault, two at a time."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn, initializer=logging.disable) as workers:
        return dict(zip(EXPECTED, workers.map(see, EXPECTED), strict=True))


def see(fault: Fault) -> Seen:
    """Put a pool through one fault."""
    series = hour_of(fault).series()
    by_job: dict[str, dict[str, int]] = {job: {} for job in JOBS}
    for (alert, job), seconds in first_fired(series, every=EVERY, until=f"{OVER:.0f}s").items():
        by_job[job][alert.removeprefix(PREFIX)] = ceil((seconds - BEGINS) / 60)
    return Seen(series, by_job)


def surprises(seen: Mapping[Fault, Seen]) -> list[str]:
    """Where something else fires than is expected, in words."""
    return [
        f"{title(fault)}, as scraped from {job}: {_listed(minutes)} fires, expected: {_listed(EXPECTED[fault])}"
        for fault, each in seen.items()
        for job, minutes in each.by_job.items()
        if set(minutes) != set(EXPECTED[fault])
    ]


def _listed(alerts: Iterable[str]) -> str:
    return ", ".join(sorted(alerts)) or "nothing"


def title(fault: Fault) -> str:
    """Its name in words."""
    return fault.__name__.replace("_", " ")


def table(seen: Mapping[Fault, Seen]) -> str:
    """The matrix in Markdown: a row for each alert, a column for each fault."""
    rows = [["", *map(title, seen)], ["---", *(":-:" for _ in seen)]]
    for alert in ALERTS:
        name = alert.removeprefix(PREFIX)
        cells = (f"{each.minutes[name]} min" if name in each.minutes else "" for each in seen.values())
        rows.append([f"[{name}](runbooks/{alert}.md)", *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def reasons() -> str:
    """What happens in each fault, and why it fires what it fires."""
    return "".join(_reason(fault, fires) for fault, fires in EXPECTED.items())


def _reason(fault: Fault, fires: Mapping[str, str]) -> str:
    what = " ".join((inspect.getdoc(fault) or "").split())
    why = "".join(f"\n  - `{alert}`: {reason}." for alert, reason in fires.items()) or "\n  - nothing fires."
    return f"- **{title(fault)}**: {what}{why}\n"


def published() -> dict[str, dict[str, int]]:
    """The matrix as the page has it, by the fault's title."""
    (_, *titles), *rows = table_in(PAGE, "matrix")
    found: dict[str, dict[str, int]] = {name: {} for name in titles}
    for first, *cells in rows:
        alert = first.partition("]")[0].removeprefix("[")
        for name, cell in zip(titles, cells, strict=True):
            if cell:
                found[name][alert] = int(cell.removesuffix(" min"))
    return found


def write(seen: Mapping[Fault, Seen]) -> None:
    """Put the matrix and its reasons on the page."""
    write_section(PAGE, "matrix", table(seen))
    write_section(PAGE, "reasons", reasons())
