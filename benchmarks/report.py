"""The figures as tables, on the terminal and on the page: `python -m benchmarks.report` writes the page's anew.

With --check nothing is written, and the exit code is 1 where the page does not say what the JSON does.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from .budgets import BARE, BUDGETS, OURS
from .results import DOCS, Machine, Results, Run, Timing, load

PAGE = DOCS / "benchmarks.md"

R = TypeVar("R")


def machine(results: Results) -> str:
    """Where and with what."""
    return measured_on(results, max(run["load"] for run in results["runs"]))


def measured_on(machine: Machine, busiest: float) -> str:
    """When, where and with what, beside so high a load average."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return f"Measured on {machine['measured']}: {machine['machine']}, load average at most {busiest:.1f}; {packages}."


def budgets(results: Results) -> str:
    """Each budget, and whether it is met."""
    rows = [
        [budget.what, f"≤ {budget.limit:g}{budget.unit}", *(budget.verdict(run) for run in results["runs"])]
        for budget in BUDGETS
    ]
    return table(["", "budget", *map(title, results["runs"])], rows)


def idle(results: Results) -> str:
    return _timings(results, lambda run: run["idle"])


def contended_by_few(results: Results) -> str:
    return _timings(results, lambda run: run["contended"]["20"])


def contended_by_many(results: Results) -> str:
    return _timings(results, lambda run: run["contended"]["1000"])


def queued(results: Results) -> str:
    run = chosen(results)
    depths = run["queued"]
    names = next(iter(depths.values()))
    rows = [[_name(name), *(_microseconds(timings[name]["best"]) for timings in depths.values())] for name in names]
    return table([title(run) + ", µs", *(f"{int(depth):,} queued" for depth in depths)], rows)


def fairness(results: Results) -> str:
    run = chosen(results)
    rows = [
        [
            _name(name),
            str(figures["fewest"]),
            str(figures["most"]),
            f"{figures['p99'] / figures['ideal']:.2f} ×",
            _times(figures["overtaken"]),
        ]
        for name, figures in run["fairness"].items()
    ]
    return table([title(run), "fewest acquires", "most", "99 % of waits, of ideal", "overtaken"], rows)


def memory(results: Results) -> str:
    run = chosen(results)
    rows = [
        [_name(name), f"{figures['queued']:,.0f}", f"{figures['idle']:,.0f}"] for name, figures in run["memory"].items()
    ]
    return table([title(run) + ", bytes", "a queued caller", "an idle connection"], rows)


def observed(results: Results) -> str:
    run = chosen(results)
    idle, busy, peak = run["observed"]["idle"], run["observed"]["busy"], run["observed"]["peak"]
    rows = [
        [
            _name(name),
            _microseconds(idle[name]["best"]),
            f"{number(idle[name]['best'] / idle[BARE]['best'])} ×",
            _microseconds(busy[name]["best"]),
            f"{number(busy[name]['best'] / busy[BARE]['best'])} ×",
            f"{peak[name]:,.0f}",
        ]
        for name in idle
    ]
    return table([title(run), "idle, µs", "of bare", "12 tasks, µs", "of bare", "bytes at the peak"], rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "budgets": budgets,
    "idle": idle,
    "20 tasks": contended_by_few,
    "1,000 tasks": contended_by_many,
    "queued": queued,
    "fairness": fairness,
    "memory": memory,
    "observed": observed,
}
"""By the names that the page has for their places."""


def chosen(results: Results) -> Run:
    """The run that is shown where one has to do: the newest Python, on its own loop."""
    return [run for run in results["runs"] if run["loop"] == "asyncio"][-1]


def filled(page: Path, tables: Mapping[str, Callable[[R], str]], results: R) -> str:
    """The page's text with every table in its place.

    Raises:
        ValueError: a table has no place there.
    """
    text = page.read_text()
    for name, write in tables.items():
        begin, end = f"<!-- begin: {name} -->\n", "\n<!-- end -->"
        if text.count(begin) != 1:
            raise ValueError(f"{page.name} must have one place for {name!r}, has {text.count(begin)}")
        before, _, rest = text.partition(begin)
        text = before + begin + write(results) + end + rest.partition(end)[2]
    return text


def _timings(results: Results, read: Callable[[Run], dict[str, Timing]]) -> str:
    """Microseconds by contestant and run, and the range of each one's ratios to ours."""
    runs = [read(run) for run in results["runs"]]
    rows: list[list[str]] = []
    for name in runs[0]:
        ratios = sorted(run[name]["best"] / run[OURS]["best"] for run in runs)
        span = dict.fromkeys(map(number, (ratios[0], ratios[-1])))  # one number where the two look the same
        rows.append(
            [
                _name(name),
                *(_microseconds(run[name]["best"]) for run in runs),
                "" if name == OURS else f"{' – '.join(span)} ×",
            ]
        )
    return table(["µs", *map(title, results["runs"]), "of ours"], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Names at the left, numbers at the right, every column as wide as it must."""
    lines = [head, *rows]
    names, *numbers = (max(map(len, column)) for column in zip(*lines, strict=True))
    rule = "-" * names, *("-" * (width - 1) + ":" for width in numbers)
    return "\n".join(
        f"| {first:{names}} | "
        + " | ".join(f"{cell:>{width}}" for cell, width in zip(cells, numbers, strict=True))
        + " |"
        for first, *cells in (head, rule, *lines[1:])
    )


def title(run: Run) -> str:
    """Its Python, and its event loop where that is not Python's own."""
    return version_of(run) if run["loop"] == "asyncio" else f"{version_of(run)} {run['loop']}"


def version_of(run: Run) -> str:
    """Its Python, as people call it."""
    return run["python"].rpartition(".")[0]


def _name(name: str) -> str:
    return f"**{name}**" if name in {OURS, BARE} else name


def _microseconds(seconds: float) -> str:
    return number(seconds * 1e6)


def number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _times(count: int) -> str:
    return "always" if count >= 1_000 else f"{count} times" if count else "never"


def main(page: Path, tables: Mapping[str, Callable[[R], str]], results: R) -> int:
    """Write the page's tables anew, or see whether that would change anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args()
    wanted = filled(page, tables, results)
    if not options.check:
        page.write_text(wanted)
        return 0
    there = page.read_text()
    sys.stdout.writelines(difflib.unified_diff(there.splitlines(True), wanted.splitlines(True), "page", "JSON"))
    return int(there != wanted)


if __name__ == "__main__":
    sys.exit(main(PAGE, TABLES, load()))
