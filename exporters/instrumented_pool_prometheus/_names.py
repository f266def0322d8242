"""The names that metrics and attributes take in Prometheus: OpenTelemetry's rules, for who writes or queries them."""

import re

from instrumented_pool.metrics import Count, Duration

UNITS = {"s": "seconds"}


def identifier(name: str) -> str:
    """The name of a label, or of a metric without its suffixes."""
    return re.sub(r"^(?=\d)|[^a-zA-Z0-9]+", "_", name)


def family_name(metric: Count | Duration) -> str:
    """The name that a metric's `# HELP` gives, with its unit."""
    name, unit = identifier(metric.name), UNITS.get(metric.unit)
    return name if unit is None else f"{name}_{unit}"


def series_name(count: Count) -> str:
    """The name that a count's samples have, and queries use."""
    return f"{family_name(count)}_total" if count.kind == "counter" else family_name(count)
