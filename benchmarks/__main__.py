"""Measure everything, and write docs/benchmarks.md with its figures and plots anew: `make bench`."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from . import plots, report
from .contestants import CONTESTANTS
from .measure import LOOPS, PARTS
from .results import RESULTS, Results, Run, load, save, this_machine

PATIENCE = 600.0
"""Seconds that a run may take, on however busy a machine: a pool that hangs must not hang the comparison."""


def measured(python: str, loop: str, options: list[str]) -> Run:
    """What one Python measures on one event loop."""
    begin = time.monotonic()
    figures: dict[str, Any] = {}
    for part in PARTS:
        command = [python, "-m", "benchmarks.measure", part, "--loop", loop, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
        figures = json.loads(done.stdout) | figures
    print(f"CPython {figures['python']}, {loop}: {time.monotonic() - begin:.0f} s", flush=True)
    return cast(Run, figures)


def results_of(pythons: list[str], options: list[str]) -> Results:
    """What all of them measure, one after the other."""
    packages = [cls.distribution for cls in CONTESTANTS if cls.distribution] + [
        name for name in LOOPS if name != "asyncio"
    ]
    return Results(
        **this_machine(packages),
        runs=[measured(python, loop, options) for python in pythons for loop in LOOPS],
    )


def _try_out(pythons: list[str]) -> None:
    """Measure in a hurry: whatever reads the figures has to understand them."""
    results = results_of(pythons, ["--quick"])
    plots.drawn(results)
    report.filled(report.PAGE, report.TABLES, results)
    stale = [name for name, svg in plots.drawn(load()).items() if _plot(name).read_text() != svg]
    if stale:
        sys.exit(f"the plots {', '.join(stale)} are not drawn from {RESULTS.name}: run make bench ARGS=--redraw")


def _redraw() -> None:
    """Write what shows the figures, and show them here."""
    results = load()
    for name, svg in plots.drawn(results).items():
        _plot(name).write_text(svg)
    report.PAGE.write_text(report.filled(report.PAGE, report.TABLES, results))
    for name, table in report.TABLES.items():
        print(f"\n{name}\n\n{table(results)}")


def _plot(name: str) -> Path:
    return RESULTS.parent / f"{name}.svg"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="only see that everything runs, and write nothing")
    mode.add_argument("--redraw", action="store_true", help="measure nothing: show the figures that are there anew")
    parser.add_argument("pythons", nargs="+", help="the interpreters to measure on, from the oldest to the newest")
    options = parser.parse_args()
    if options.quick:
        _try_out(options.pythons)
        return 0
    if not options.redraw:
        save(results_of(options.pythons, []))
    _redraw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
