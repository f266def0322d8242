"""A program that knows nothing of an SDK, run by `opentelemetry-instrument`, with its driver instrumented beside us."""

import asyncio
import sys
import textwrap
from dataclasses import dataclass

import pytest

from instrumented_pool._servers import Postgres, Valkey
from support.otlp import Receiver, values
from support.programs import PATIENCE, environment, trees

PROGRAM = """
    import asyncio, os

    from opentelemetry import trace

    from instrumented_pool import ConnectionPool
    from instrumented_pool.strategies.{driver} import {strategy}
    from instrumented_pool_otel import OTelObserver
    from instrumented_pool_otel.sdk import bridge

    tracer = trace.get_tracer("program")

    async def order(pool, number):
        with tracer.start_as_current_span(f"order {{number}}"):
            async with pool.get_connection() as connection:
                await connection.{command}
                await asyncio.sleep(0.01)

    async def main():
        bridge()
        strategy = {strategy}(os.environ["URL"]{settings})
        async with ConnectionPool(strategy=strategy, max_size=1, name="orders", observers=[OTelObserver()]) as pool:
            await asyncio.gather(order(pool, 1), order(pool, 2))

    asyncio.run(main())
    """


@dataclass(frozen=True)
class Driver:
    """A driver that OpenTelemetry has an instrumentation for, a command for its connections, and the span of that."""

    driver: str
    strategy: str
    command: str
    span: str
    settings: str = ""


DRIVERS = [
    Driver("redis", "RedisConnectionStrategy", "set('order', 'paid')", "SET"),
    Driver("asyncpg", "AsyncpgConnectionStrategy", "execute('SELECT 1')", "SELECT"),
    Driver("psycopg", "PsycopgConnectionStrategy", "execute('SELECT 1')", "SELECT", ", autocommit=True"),
]


async def run_instrumented(program: str, receiver: Receiver, **settings: str) -> None:
    """Run a program as a user does, with nothing but the environment to say what is exported where."""
    process = await asyncio.create_subprocess_exec(
        "opentelemetry-instrument",
        sys.executable,
        "-c",
        textwrap.dedent(program),
        env=environment(receiver, **settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, output.decode()) == (0, "")


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.driver)
async def test_it_works_under_opentelemetry_instrument_and_doubles_no_span_of_the_driver(
    server: Valkey, postgres: Postgres, driver: Driver
) -> None:
    """Each command has one span, in its request, and each step of the pool one; the bridge finds the SDK."""
    url = f"redis://{server.host}:{server.port}" if driver.driver == "redis" else postgres.url
    with Receiver() as receiver:
        await run_instrumented(PROGRAM.format(**vars(driver)), receiver, URL=url)
    assert trees(receiver) == {
        f"order 1\n├─ pool.acquire\n│  └─ pool.create\n└─ {driver.span}\n": 1,
        f"order 2\n├─ pool.acquire\n│  └─ pool.wait\n└─ {driver.span}\n": 1,
    }
    spans = {span.span_id: span for _, _, span in receiver.spans()}
    assert [spans[link.span_id].name for span in spans.values() for link in span.links] == ["order 1"]
    scopes = {scope.scope.name: scope for _, scope, _ in receiver.spans()}
    assert set(scopes) == {"program", "instrumented_pool", f"opentelemetry.instrumentation.{driver.driver}"}
    waits = [metric for _, _, metric in receiver.last_metrics() if metric.name == "db.client.connection.wait_time"]
    assert [[point.count for point in metric.histogram.data_points] for metric in waits] == [[2]]
    assert not waits[0].histogram.data_points[0].HasField("max")  # which is how the bridge's points are told
    services = {values(resource.resource.attributes)["service.name"] for resource, *_ in receiver.last_metrics()}
    assert services == {"orders"}
    assert receiver.others == []
