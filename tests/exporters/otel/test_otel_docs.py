"""The page of the names says what the tables say."""

import re
from pathlib import Path

from opentelemetry.semconv.schemas import Schemas

from instrumented_pool.metrics import COUNTS, DURATIONS
from instrumented_pool_otel import _names
from support.telemetry import Pools, Telemetry, Wires, borrow

PAGE = Path(__file__).parents[3] / "docs" / "exporters" / "opentelemetry.md"
INSTRUMENTS = {"counter": "Counter", "updowncounter": "UpDownCounter", "gauge": "Gauge"}


def test_the_page_lists_every_metric() -> None:
    """Instrument, unit, attributes and meaning, in the order of the table."""
    rows = [
        f"| `{count.name}` | {INSTRUMENTS[count.kind]} | `{count.unit}` |"
        f" {', '.join(f'`{label}`' for label in count.labels)} | {count.description} |"
        for count in COUNTS
    ]
    rows += [f"| `{each.name}` | Histogram | `{each.unit}` |  | {each.description} |" for each in DURATIONS]
    assert re.findall(r"^\| `.*\|$", PAGE.read_text().partition("## Spans")[0], re.MULTILINE) == rows


def test_the_page_lists_every_span_and_attribute() -> None:
    """None is missing, and none is there that is not sent."""
    names = {value for key, value in vars(_names).items() if key.isupper() and isinstance(value, str)}
    spans = {name for name in names if name.startswith("pool.")}
    own = {name for name in names if name.startswith("instrumented_pool.")}
    page = PAGE.read_text().partition("## Spans")[2]
    listed = set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))
    assert spans <= listed
    assert own | {"error.type"} <= listed


async def test_no_span_has_an_attribute_that_is_not_on_the_page(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """Seen on real spans."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans="all")])
    await borrow(pool)
    await borrow(pool)
    page = PAGE.read_text()
    sent = {key for span in telemetry.spans() for key in span.attributes or {}}
    assert {key for key in sent if f"| `{key}` |" not in page} == set()


def test_the_schema_is_one_that_exists() -> None:
    """As OpenTelemetry's own package lists them."""
    assert Schemas.V1_44_0.value == _names.SCHEMA_URL
