"""`make soak`, in short: it takes a million operations elsewhere, or an hour."""

import asyncio
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def soak_module() -> Any:
    """The script, which is no part of any package."""
    spec = spec_from_file_location("soak", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_twenty_thousand_operations_add_up() -> None:
    """In a process of its own, whose memory is looked at."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--operations", "20000"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("\n20,000 acquires\n")


def test_real_servers_that_fail_leave_nothing_behind() -> None:
    """Three rounds of one fault, and the memory is as it was; `make soak ARGS=--server` takes them all."""
    words = ["--server", "streams", "RST while idle", "--minutes", "0"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n3 rounds, 3 trials, " in f"\n{done.stdout}"


def test_soak_tells_what_does_not_add_up() -> None:
    """Else it would be of no use."""
    soak = soak_module().Soak(operations=500, seed=1)
    asyncio.run(soak.run())
    soak.memory.blocks = [0] * len(soak.memory.blocks)
    assert not list(soak.faults())
    soak.server.made += 1
    soak.seen["timeout"] -= 1
    soak.memory.blocks[-1] = 5_000
    faults = "\n".join(soak.faults())
    for what in ("as callers saw them", "by the pool's count and the server's", "made and closed", "memory: 5,000"):
        assert what in faults
