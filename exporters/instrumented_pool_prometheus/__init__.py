"""Prometheus for instrumented-pool: a collector that reads pools when it is scraped."""

try:
    from ._collector import PoolCollector
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise ImportError(
        "instrumented_pool_prometheus needs prometheus-client: pip install 'instrumented-pool[prometheus]'",
        name=error.name,
    ) from error

__all__ = ["PoolCollector"]
