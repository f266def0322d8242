"""Measure everything, and write docs/benchmarks.md with its figures and plots anew: `make bench`."""

import json
import subprocess
import sys
import time
from typing import Any, cast

from . import plots, report
from .contestants import CONTESTANTS
from .measure import LOOPS, PARTS
from .results import RESULTS, Results, Run, load, this_machine
from .showing import Benchmark

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


BENCHMARK = Benchmark("make bench", RESULTS, report.PAGE, report.TABLES, load, plots.drawn)


def main() -> int:
    parser = BENCHMARK.parser(__doc__)
    parser.add_argument("pythons", nargs="+", help="the interpreters to measure on, from the oldest to the newest")
    options = parser.parse_args()
    BENCHMARK.run(options, lambda mode: results_of(options.pythons, mode))
    return 0


if __name__ == "__main__":
    sys.exit(main())
