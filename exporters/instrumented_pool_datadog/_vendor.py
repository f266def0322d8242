"""What is used of Datadog's two libraries, imported in one place."""

try:
    from datadog.dogstatsd.base import DogStatsd, statsd
    from ddtrace.constants import ERROR_MSG, ERROR_TYPE
    from ddtrace.trace import Span, Tracer, tracer
except ImportError as error:
    raise ImportError(
        "DatadogObserver needs datadog and ddtrace: pip install 'instrumented-pool[datadog]'", name=error.name
    ) from error

__all__ = ["ERROR_MSG", "ERROR_TYPE", "DogStatsd", "Span", "Tracer", "statsd", "tracer"]
