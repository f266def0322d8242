"""The page on exporters and modes: each mode is one that there is, and hears of what the page says."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from datadog.dogstatsd.base import DogStatsd
from opentelemetry.metrics import NoOpMeterProvider

from instrumented_pool import ConnectionPool, Observer
from instrumented_pool.testing import FakeStrategy
from instrumented_pool_datadog import DatadogObserver
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector
from instrumented_pool_structlog import StructlogObserver
from support.pages import DOCS
from support.telemetry import hears_of_idle_acquires

PAGE = (DOCS / "choosing.md").read_text()
MODES: list[tuple[str, str]] = re.findall(r"^\| `(.+?)`[^|]* \| (yes|no)", PAGE, flags=re.MULTILINE)


@pytest.fixture
def names() -> Iterator[dict[str, Any]]:
    """What the expressions on the page are made of; Datadog's client sends to nobody."""
    nobody = DogStatsd(disable_telemetry=True)
    yield {
        "DatadogObserver": partial(DatadogObserver, statsd=nobody),
        "NoOpMeterProvider": NoOpMeterProvider,
        "OTelObserver": OTelObserver,
        "PoolCollector": PoolCollector,
        "StructlogObserver": StructlogObserver,
        "current_trace": lambda: None,
    }
    nobody.close_socket()


def test_each_exporter_has_its_modes_on_the_page() -> None:
    """None was forgotten."""
    assert {mode.partition("(")[0] for mode, _ in MODES} == {
        "DatadogObserver",
        "OTelObserver",
        "PoolCollector",
        "StructlogObserver",
    }


@pytest.mark.parametrize(("mode", "hears"), MODES)
async def test_mode_hears_of_an_idle_acquire_where_the_page_says_so(
    mode: str, hears: str, names: dict[str, Any]
) -> None:
    """Told by what it subscribes to."""
    observer: Observer = eval(mode, names)
    async with ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[observer]) as pool:
        assert hears_of_idle_acquires(pool) is (hears == "yes")


def test_metrics_and_traces_can_go_different_ways(names: dict[str, Any]) -> None:
    """The observer that the page has for it is one that can be made."""
    modes = re.findall(r"`(OTelObserver\(meter_provider=.+?\))`", PAGE)
    assert modes
    for mode in modes:
        eval(mode, names)
