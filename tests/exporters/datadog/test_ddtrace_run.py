"""Programs under `ddtrace-run`, which patches their drivers too, and what arrives at a real agent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from instrumented_pool._servers import Valkey
from support.datadog_agent import Agent
from support.trace_agent import Node, TraceAgent, ddtrace_run

PROGRAM = Path(__file__).with_name("traced.py")


async def test_traces_are_those_of_the_ancestor_and_of_the_driver(
    trace_agent: TraceAgent, agent: Agent, server: Valkey
) -> None:
    """Parents and children as they were; the driver's spans once, below the creation where they are a part of it."""
    whose = ("ancestor", "ours", "waits")
    with ThreadPoolExecutor() as at_once:
        for run in [
            at_once.submit(
                ddtrace_run,
                PROGRAM,
                name,
                str(server.port),
                DD_TRACE_AGENT_URL=trace_agent.url,
                DD_AGENT_HOST="127.0.0.1",
                DD_DOGSTATSD_PORT=str(agent.port),
                PYTHONWARNINGS="ignore::DeprecationWarning",
            )
            for name in whose
        ]:
            run.result()
    traces = trace_agent.traces()
    seen = {name: {node.resource: str(node) for node in traces if node.service == name} for name in whose}
    assert seen["ours"] == seen["ancestor"]
    acquire = "orders.pool.acquire_connection"
    assert seen["waits"] == {
        "new": f"request\n  {acquire}\n    orders.pool._create_new_connection\n      redis.command\n  redis.command",
        "available": "request\n  redis.command",
        "wait": f"request\n  {acquire}\n    orders.pool._wait_for_connection\n  redis.command",
    }
    assert seen["ours"] == seen["waits"] | {"available": f"request\n  {acquire}\n  redis.command"}
    assert not any(node.error for node in everything(traces))
    assert {node.service for node in everything(traces) if node.name.startswith("orders.")} == {"orders"}


def everything(nodes: "Iterator[Node] | list[Node] | tuple[Node, ...]") -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from everything(node.children)
