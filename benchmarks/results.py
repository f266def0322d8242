"""The figures of one `make bench`, as they are committed: docs/benchmarks/results.json."""

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict, cast

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "benchmarks" / "results.json"


class Timing(TypedDict):
    """Seconds of one operation, in the best turn and in the median one."""

    best: float
    median: float


class Fairness(TypedDict):
    """How the workers fared.

    Attributes:
        fewest: acquires of the worker with the fewest.
        most: acquires of the worker with the most.
        ideal: seconds of each wait where all are served in turn, with holds as long as they really were.
        p99: 99th percentile of the waits, in seconds.
        overtaken: acquires of a task that asks again at once, while another waits for the only connection.
    """

    fewest: int
    most: int
    ideal: float
    p99: float
    overtaken: int


class Memory(TypedDict):
    """Bytes that a pool takes for one caller more, without its task, and for one more connection, without itself."""

    queued: float
    idle: float


class Observed(TypedDict):
    """Pools by who listens.

    Attributes:
        idle: seconds of an acquire and release with a connection idle and nobody else about.
        busy: the same, where tasks contend a little.
        peak: bytes that are in use more than before at some moment of an acquire and release.
    """

    idle: dict[str, Timing]
    busy: dict[str, Timing]
    peak: dict[str, float]


class Run(TypedDict):
    """One Python and one event loop; figures are by the name of a contestant."""

    python: str
    loop: str
    load: float
    idle: dict[str, Timing]
    contended: dict[str, dict[str, Timing]]
    queued: dict[str, dict[str, Timing]]
    fairness: dict[str, Fairness]
    memory: dict[str, Memory]
    observed: Observed


class Machine(TypedDict):
    """When, where and with what."""

    measured: str
    machine: str
    packages: dict[str, str]


class Results(Machine):
    """All runs, the Pythons from the oldest to the newest, and where they took place."""

    runs: list[Run]


def this_machine(packages: Iterable[str]) -> Machine:
    """This one, today, with the versions of these packages."""
    return Machine(
        measured=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        packages={name: version(name) for name in packages},
    )


def _processor() -> str:
    """The model, which Linux does not tell `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def load() -> Results:
    """Read what was committed."""
    return cast(Results, json.loads(RESULTS.read_text()))


def save(results: Any, path: Path = RESULTS) -> None:
    """Write it with no more digits than mean something."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(_rounded(results), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
