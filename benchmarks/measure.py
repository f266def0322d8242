"""Measure on this Python and one event loop: `python -m benchmarks.measure pools` prints JSON."""

import argparse
import asyncio
import gc
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from .timing import FULL, QUICK, Effort

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


async def pools(effort: Effort) -> dict[str, Any]:
    """Compare pools."""
    from . import scenarios

    gc.freeze()
    await scenarios.check_rules()
    return {
        "idle": await scenarios.idle(effort),
        "contended": {str(tasks): await scenarios.contended(tasks, effort) for tasks in effort.crowds},
        "queued": {str(depth): await scenarios.handed_on(depth, effort) for depth in effort.depths},
        "fairness": await scenarios.fairness(effort),
        "memory": await scenarios.memory(effort),
    }


async def observers(effort: Effort) -> dict[str, Any]:
    """Compare who listens to ours."""
    from .observed import observed

    gc.freeze()
    return {"observed": await observed(effort)}


PARTS = {"pools": pools, "observers": observers}
"""Each in a process of its own, which imports what it measures: the pools have no vendor's threads beside them, and the
garbage collector need not look through what was imported."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    options = parser.parse_args()
    load, _, _ = os.getloadavg()
    with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
        figures = runner.run(PARTS[options.part](QUICK if options.quick else FULL))
    json.dump({"python": platform.python_version(), "loop": options.loop, "load": load} | figures, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
