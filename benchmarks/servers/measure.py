"""Measure the pools of one driver on a server of their own: `python -m benchmarks.servers.measure load asyncpg`."""

import argparse
import asyncio
import gc
import json
import logging
import os
import platform
import sys
from importlib import import_module
from typing import Any

from . import scenarios
from .backends import BACKENDS
from .results import DRIVERS, FULL, QUICK, Effort

PARTS = ("load", "recovery", "cancelled", "observed")
"""Each in a process of its own: one part's debris, threads and instrumentation do not weigh on the next."""


async def measured(part: str, driver: str, effort: Effort) -> Any:
    module = import_module(f"{__package__}.on_{driver}")  # of no other driver's pools
    gc.freeze()  # the garbage collector need not look through what was imported
    pools = module.OBSERVED if part == "observed" else module.POOLS
    async with BACKENDS[driver]() as backend:
        return await getattr(scenarios, part)(pools, backend, effort)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("driver", choices=DRIVERS)
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    options = parser.parse_args()
    logging.disable()  # a pool whose server is killed has much to say
    load, _, _ = os.getloadavg()
    figures = asyncio.run(measured(options.part, options.driver, QUICK if options.quick else FULL))
    json.dump({"python": platform.python_version(), "load": load, "figures": figures}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
