"""What the pool may cost, as ratios in one run."""

from collections.abc import Callable
from dataclasses import dataclass

from .results import Run, Timing

OURS = "instrumented-pool"
ANCESTOR = "asyncio-connection-pool"
BARE = "bare"


@dataclass(frozen=True)
class Budget:
    """A promise that holds on Python's own event loop.

    Attributes:
        what: of what, as a sentence that ends with the limit.
        limit: the most that it may be.
        unit: of the limit.
        read: the figure in a run.
    """

    what: str
    limit: float
    unit: str
    read: Callable[[Run], float]

    def verdict(self, run: Run) -> str:
        """The figure as it is shown, and whether that is within."""
        text = f"{self.read(run):.3g}"
        if run["loop"] != "asyncio":
            return f"{text}{self.unit}"
        return f"{text}{self.unit} {'met' if float(text) <= self.limit else '**NOT met**'}"


def _ratio(timings: dict[str, Timing], other: str) -> float:
    return timings[OURS]["best"] / timings[other]["best"]


def _observed(run: Run, name: str, other: str) -> float:
    idle = run["observed"]["idle"]
    return idle[name]["best"] / idle[other]["best"]


def _deep(run: Run) -> float:
    few, *_, many = run["queued"].values()
    return many[OURS]["best"] / few[OURS]["best"]


def _spread(run: Run) -> float:
    figures = run["fairness"][OURS]
    return 100 * (figures["most"] - figures["fewest"]) / figures["most"]


def _waits(run: Run) -> float:
    figures = run["fairness"][OURS]
    return figures["p99"] / figures["ideal"]


BUDGETS: tuple[Budget, ...] = (
    Budget("acquire + release, of the floor's", 1.8, " ×", lambda run: _ratio(run["idle"], "floor")),
    Budget("acquire + release, of the ancestor's", 0.3, " ×", lambda run: _ratio(run["idle"], ANCESTOR)),
    Budget(
        "1,000 tasks on 10 connections, of a semaphore's",
        1.2,
        " ×",
        lambda run: _ratio(run["contended"]["1000"], "semaphore"),
    ),
    Budget("one release with 10,000 queued, of that with 100", 1.3, " ×", _deep),
    Budget("fewest acquires of a worker, below the most", 5.0, " %", _spread),
    Budget("99th percentile of the waits, of the ideal", 1.3, " ×", _waits),
    Budget("memory of one queued caller", 1.5, " KiB", lambda run: run["memory"][OURS]["queued"] / 1024),
    Budget("memory of one idle connection", 0.5, " KiB", lambda run: run["memory"][OURS]["idle"] / 1024),
    Budget(
        "distributions read by Prometheus, of the bare pool", 1.7, " ×", lambda run: _observed(run, "Prometheus", BARE)
    ),
    Budget(
        "distributions read by OpenTelemetry's bridge, of the bare pool",
        1.7,
        " ×",
        lambda run: _observed(run, "OpenTelemetry's bridge, spans of waits", BARE),
    ),
    Budget(
        "Datadog's defaults, of the ancestor's Datadog class",
        0.05,
        " ×",
        lambda run: _observed(run, "Datadog", f"{ANCESTOR}, Datadog"),
    ),
)
