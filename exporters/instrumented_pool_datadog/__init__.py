"""Pools in Datadog: spans, gauges, counts, distributions and events, and the ancestor's Datadog pool on top of them."""

from ._observer import DatadogObserver
from ._pool import ConnectionPool

__all__ = ["ConnectionPool", "DatadogObserver"]
