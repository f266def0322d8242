"""What the tests of code that uses a pool need: strategies that misbehave, an observer that remembers, two sweeps.

Needs nothing but the core, and no test runner in particular.
"""

from ._chaos import ChaosError, ChaosStrategy
from ._fakes import FakeConnection, FakeStrategy
from ._faults import Faults, FaultyObserver, FaultyStrategy
from ._loop import SteppedLoop
from ._recorder import RecordingObserver
from ._sweep import SweepError, SweepFailure, sweep_cancellations, sweep_faults

__all__ = [
    "ChaosError",
    "ChaosStrategy",
    "FakeConnection",
    "FakeStrategy",
    "Faults",
    "FaultyObserver",
    "FaultyStrategy",
    "RecordingObserver",
    "SteppedLoop",
    "SweepError",
    "SweepFailure",
    "sweep_cancellations",
    "sweep_faults",
]
