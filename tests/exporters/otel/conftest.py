from support.clock import clock
from support.telemetry import make_pool, telemetry, wires

__all__ = ["clock", "make_pool", "telemetry", "wires"]
