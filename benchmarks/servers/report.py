"""The figures as tables, on the terminal and on the page: `python -m benchmarks.servers.report` writes the page's anew.

With --check nothing is written, and the exit code is 1 where the page does not say what the JSON does.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import median
from typing import TypeVar

from ..budgets import OURS
from ..report import main, measured_on, table
from ..results import DOCS
from .results import DRIVERS, PATIENCE, Cancelled, Load, Recovery, Results, load

PAGE = DOCS / "side-by-side.md"

F = TypeVar("F")

COMMON = "100/10"
"""The load at which pools are compared where one has to do."""


def machine(results: Results) -> str:
    """Where and with what."""
    return f"CPython {results['python']}. {measured_on(results, results['load'])}"


def throughput(driver: str, results: Results) -> str:
    """Right replies in a second."""
    loads = results["drivers"][driver]["load"]
    names = next(iter(loads.values()))
    rows = [[_name(name), *(_rate(turns, name, OURS) for turns in loads.values())] for name in names]
    return table(["replies/s", *map(words_for, loads)], rows)


def latency(driver: str, results: Results) -> str:
    """How long requests take: three percentiles."""
    loads = results["drivers"][driver]["load"]
    names = next(iter(loads.values()))
    rows = [[_name(name), *(_percentiles(turns[name]) for turns in loads.values())] for name in names]
    return table(["ms, p50 / p99 / p99.9", *map(words_for, loads)], rows)


def observed(results: Results) -> str:
    """Right replies in a second, by who listens; the ratio is to the same pool with nobody listening."""
    rows = [
        [f"{driver}: {_name(name)}", _rate(turns, name, _unobserved(name, turns)), _percentiles(turns[name])]
        for driver in DRIVERS
        for turns in [results["drivers"][driver]["observed"]]
        for name in turns
    ]
    return table(["", "replies/s", "ms, p50 / p99 / p99.9"], rows)


def fairness(results: Results) -> str:
    """Who was served how often, and by how many connections."""
    return _of_all(
        ["", "fewest replies", "most", "workers without any", "errors", "wrong replies", "opened"],
        {driver: figures["load"][COMMON] for driver, figures in results["drivers"].items()},
        _fairness,
    )


def recovery(results: Results) -> str:
    """What a kill of the server does."""
    return _of_all(
        ["ms", "until the first reply", "until everybody's", "errors", "wrong replies"],
        {driver: figures["recovery"] for driver, figures in results["drivers"].items()},
        _recovery,
    )


def cancelled(results: Results) -> str:
    """What cancelled requests leave behind."""
    return _of_all(
        ["", "cancelled", "wrong replies", "errors", "hung", "connections lost", "opened", "not closed", "s"],
        {driver: figures["cancelled"] for driver, figures in results["drivers"].items()},
        _cancelled,
    )


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    **{f"throughput of {driver}": partial(throughput, driver) for driver in DRIVERS},
    **{f"latency of {driver}": partial(latency, driver) for driver in DRIVERS},
    "fairness": fairness,
    "recovery": recovery,
    "cancelled": cancelled,
    "observed": observed,
}
"""By the names that the page has for their places."""


def words_for(load: str) -> str:
    """What a load is called."""
    tasks, size = map(int, load.split("/"))
    return f"{tasks:,} on {size}"


def _of_all(head: list[str], figures: Mapping[str, Mapping[str, F]], cells: Callable[[F], Iterable[str]]) -> str:
    """A row for each pool of each driver."""
    return table(
        head,
        [
            [f"{driver}: {_name(name)}", *cells(turns)]
            for driver, pools in figures.items()
            for name, turns in pools.items()
        ],
    )


def _fairness(turns: list[Load]) -> list[str]:
    return [
        f"{_middle(each['fewest'] for each in turns):,.0f}",
        f"{_middle(each['most'] for each in turns):,.0f}",
        *(f"{sum(each[count] for each in turns):,}" for count in ("starved", "refused", "wrong")),
        f"{_middle(each['opened'] for each in turns):,.0f}",
    ]


def _recovery(kills: list[Recovery]) -> list[str]:
    return [
        _milliseconds(each["first"] for each in kills),
        _milliseconds(each["everybody"] for each in kills),
        f"{_middle(each['refused'] for each in kills):,.0f}",
        f"{sum(each['wrong'] for each in kills):,}",
    ]


def _cancelled(figures: Cancelled) -> list[str]:
    return [
        *(f"{figures[count]:,}" for count in ("cancelled", "wrong", "refused", "hung")),
        f"{figures['size'] - figures['usable']} of {figures['size']}",
        f"{figures['opened']:,}",
        f"{figures['left']:,}",
        f"{figures['seconds']:.1f}",
    ]


def _rate(turns: Mapping[str, list[Load]], name: str, other: str) -> str:
    """The median, how far the turns spread around it, and the median of the ratios to another's turn of that round."""
    rates = [turn["rate"] for turn in turns[name]]
    middle = median(rates)
    spread = f"{middle:,.0f} ± {50 * (max(rates) - min(rates)) / middle:.0f} %"
    if name == other:
        return spread
    ratio = median(one["rate"] / two["rate"] for one, two in zip(turns[name], turns[other], strict=True))
    return f"{spread}, {ratio:.2f} ×"


def _unobserved(name: str, turns: Mapping[str, object]) -> str:
    """The longest name of a pool that this one's begins with, besides itself."""
    return max((each for each in turns if name.startswith(f"{each}, ")), key=len, default=name)


def _percentiles(turns: list[Load]) -> str:
    p50, p99, p999 = (_middle(turn[which] for turn in turns) for which in ("p50", "p99", "p999"))
    return " / ".join(_digits(1e3 * each) for each in (p50, p99, p999))


def _milliseconds(times: Iterable[float | None]) -> str:
    """The median of the kills, and the range; those who never came back were watched for so long."""
    ordered = sorted(PATIENCE if each is None else each for each in times)
    middle, low, high = (
        "never" if each == PATIENCE else _digits(1e3 * each) for each in (median(ordered), ordered[0], ordered[-1])
    )
    return middle if low == high else f"{middle} ({low} – {high})"


def _digits(value: float) -> str:
    """Two digits that mean something."""
    return f"{value:.{2 if value < 1 else 1 if value < 10 else 0}f}"


def _middle(values: Iterable[float]) -> float:
    return median(list(values))


def _name(name: str) -> str:
    return f"**{name}**" if name == OURS else name


if __name__ == "__main__":
    sys.exit(main(PAGE, TABLES, load()))
