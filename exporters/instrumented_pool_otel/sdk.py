"""For applications with OpenTelemetry's SDK: durations at next to no cost for the acquires that wait for nothing."""

import logging

try:
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ImportError(
        "instrumented_pool_otel.sdk needs opentelemetry-sdk: pip install 'instrumented-pool[otel-sdk]'", name=error.name
    ) from error

from opentelemetry.metrics import get_meter_provider

from ._bridge import Bridge
from ._instruments import histograms_of, instruments_of
from ._sdk import Sdk

__all__ = ["bridge"]

_log = logging.getLogger("instrumented_pool")


def bridge(meter_provider: MeterProvider | None = None) -> None:
    """Have the pools keep their durations themselves, and hand them whole to the provider's readers when these collect.

    From then on an `OTelObserver` of that provider, made before or after, records no durations and, unless its spans
    are "all", is not told of an acquire that finds a connection idle. What arrives is the same as before.

    Call it once the SDK is configured, in the thread of the event loop; a second call does nothing. Where a view or a
    reader wants what the pools' buckets cannot give, such as exponential histograms, a warning says so and nothing
    changes.

    Args:
        meter_provider: the SDK's; by default the global one, which is left alone, with a warning, if it is none.

    Raises:
        TypeError: `meter_provider` is not the SDK's.
    """
    provider = get_meter_provider() if meter_provider is None else meter_provider
    if not isinstance(provider, MeterProvider):
        if meter_provider is not None:
            raise TypeError(f"meter_provider must be a MeterProvider of the SDK, got {type(provider).__name__}")
        _log.warning("bridge() found no SDK: call it after the SDK is configured, or pass the SDK's MeterProvider")
        return
    instruments = instruments_of(provider)
    histograms = [each for each in histograms_of(provider) if isinstance(each, Histogram)]
    if instruments.bridged or not histograms:  # none of them is the SDK's own where it is disabled
        return
    try:
        sdk = Sdk(provider, histograms)
        refused = {stream.name for reader in sdk.readers() for stream in sdk.streams(reader) if stream.bounds is None}
    except AttributeError as error:
        _log.warning("bridge() does not know this version of opentelemetry-sdk, and changes nothing: %s", error)
        return
    if refused:
        names = ", ".join(sorted(refused))
        _log.warning("bridge() changes nothing: a view or reader wants other buckets than it can make of %s", names)
        return
    Bridge(sdk, instruments)
