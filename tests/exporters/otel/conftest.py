from support.telemetry import make_pool, telemetry, wires

__all__ = ["make_pool", "telemetry", "wires"]
