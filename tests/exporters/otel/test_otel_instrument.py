"""A program that knows nothing of an SDK, run by `opentelemetry-instrument`, with redis instrumented beside us."""

import asyncio
import os
import sys
import textwrap
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from instrumented_pool._servers import Valkey
from support.otlp import Receiver, values

PROGRAM = """
    import asyncio, os

    from opentelemetry import trace

    from instrumented_pool import ConnectionPool
    from instrumented_pool.strategies.redis import RedisConnectionStrategy
    from instrumented_pool_otel import OTelObserver
    from instrumented_pool_otel.sdk import bridge

    tracer = trace.get_tracer("program")

    async def order(pool, number):
        with tracer.start_as_current_span(f"order {number}"):
            async with pool.get_connection() as redis:
                await redis.set(f"order:{number}", "paid")
                await asyncio.sleep(0.01)

    async def main():
        bridge()
        strategy = RedisConnectionStrategy(os.environ["REDIS_URL"])
        async with ConnectionPool(strategy=strategy, max_size=1, name="orders", observers=[OTelObserver()]) as pool:
            await asyncio.gather(order(pool, 1), order(pool, 2))

    asyncio.run(main())
    """


async def run_instrumented(program: str, receiver: Receiver, **environment: str) -> None:
    """Run a program as a user does, with nothing but the environment to say what is exported where."""
    settings = {
        "OTEL_SERVICE_NAME": "orders",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "none",
    }
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    process = await asyncio.create_subprocess_exec(
        command,
        sys.executable,
        "-c",
        textwrap.dedent(program),
        env={**os.environ, **settings, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, output.decode()) == (0, "")


async def test_it_works_under_opentelemetry_instrument_and_doubles_no_span_of_redis(server: Valkey) -> None:
    """Each command has one span, in its request, and each step of the pool one; the bridge finds the SDK."""
    with Receiver() as receiver:
        await run_instrumented(PROGRAM, receiver, REDIS_URL=f"redis://{server.host}:{server.port}")
    spans: dict[bytes, Span] = {span.span_id: span for _, _, span in receiver.spans()}

    def path(span: Span) -> str:
        parent = spans.get(span.parent_span_id)
        return span.name if parent is None else f"{path(parent)} > {span.name}"

    assert sorted(map(path, spans.values())) == [
        "order 1",
        "order 1 > SET",
        "order 1 > pool.acquire",
        "order 1 > pool.acquire > pool.create",
        "order 2",
        "order 2 > SET",
        "order 2 > pool.acquire",
        "order 2 > pool.acquire > pool.wait",
    ]
    assert [spans[link.span_id].name for span in spans.values() for link in span.links] == ["order 1"]
    scopes = {scope.scope.name: scope for _, scope, _ in receiver.spans()}
    assert set(scopes) == {"program", "instrumented_pool", "opentelemetry.instrumentation.redis"}
    waits = [metric for _, _, metric in receiver.last_metrics() if metric.name == "db.client.connection.wait_time"]
    assert [[point.count for point in metric.histogram.data_points] for metric in waits] == [[2]]
    assert not waits[0].histogram.data_points[0].HasField("max")  # which is how the bridge's points are told
    services = {values(resource.resource.attributes)["service.name"] for resource, *_ in receiver.last_metrics()}
    assert services == {"orders"}
    assert receiver.others == []
