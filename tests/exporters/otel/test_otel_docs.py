"""The page of the names says what the tables say, and the tables what is sent."""

import asyncio
import subprocess
import sys
from pathlib import Path

from opentelemetry.semconv.schemas import Schemas

from instrumented_pool_otel import _names
from support.telemetry import Pools, Telemetry, Wires, borrow, until

ROOT = Path(__file__).parents[3]


def test_the_page_is_made_from_the_tables() -> None:
    """`make reference` would change nothing."""
    command = [sys.executable, str(ROOT / "tools" / "reference"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


async def test_spans_have_the_attributes_that_the_table_says_and_no_other(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """Seen on real spans: idle, new, handed over, cancelled and failed."""
    pool = make_pool(strategy=wires, burst_limit=2, observers=[telemetry.observer(spans="all")])
    async with pool.get_connection():
        wires.error = OSError("no")
        await asyncio.wait([asyncio.create_task(borrow(pool))])
        waiters = [asyncio.create_task(borrow(pool)) for _ in range(3)]
        await until(lambda: pool.stats().waiting >= 2)
        waiters[-1].cancel()
    await asyncio.wait(waiters)
    await borrow(pool)
    sent = {(key, span.name) for span in telemetry.spans() for key in span.attributes or {}}
    assert {(key, name) for key, (names, _) in _names.ATTRIBUTES.items() for name in names} >= sent
    assert {key for key, _ in sent} == set(_names.ATTRIBUTES)
    assert {name for _, name in sent} == set(_names.SPANS)


def test_the_schema_is_one_that_exists() -> None:
    """As OpenTelemetry's own package lists them."""
    assert Schemas.V1_44_0.value == _names.SCHEMA_URL
