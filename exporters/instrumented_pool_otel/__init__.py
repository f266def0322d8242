"""OpenTelemetry for instrumented-pool: metrics and spans, through the API alone."""

try:
    from ._observer import OTelObserver
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ImportError(
        "instrumented_pool_otel needs opentelemetry-api: pip install 'instrumented-pool[otel]'", name=error.name
    ) from error

__all__ = ["OTelObserver"]
