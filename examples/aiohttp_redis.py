"""Jobs over HTTP, queued in Redis. docs/examples.md says how to run it and what to look at."""

import os
import uuid
from collections.abc import AsyncIterator

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from opentelemetry import trace
from redis.asyncio import Redis

from instrumented_pool import ConnectionPool, PoolQueueFullError, PoolTimeoutError
from instrumented_pool.strategies.redis import RedisConnectionStrategy
from instrumented_pool_otel import OTelObserver
from instrumented_pool_structlog import StructlogObserver

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.JSONRenderer(),
    ]
)
QUEUE = web.AppKey("queue", ConnectionPool[Redis])


def current_trace() -> dict[str, str] | None:
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.is_valid else None


async def pool_of_queue(app: web.Application) -> AsyncIterator[None]:
    strategy = RedisConnectionStrategy(os.environ["REDIS_URL"], decode_responses=True)
    observers = [OTelObserver(), StructlogObserver(trace_ids=current_trace)]
    async with ConnectionPool(
        strategy=strategy, name="queue", max_size=2, burst_limit=3, acquire_timeout=0.5, observers=observers
    ) as app[QUEUE]:
        yield


@web.middleware
async def number_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    with structlog.contextvars.bound_contextvars(request=request.headers.get("X-Request-ID") or uuid.uuid4().hex):
        return await handler(request)


@web.middleware
async def come_back_later(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (PoolTimeoutError, PoolQueueFullError):  # which the pool has logged already
        return web.json_response({"error": "the queue is busy"}, status=503, headers={"Retry-After": "1"})


async def put(request: web.Request) -> web.Response:
    async with request.app[QUEUE].get_connection() as redis:
        length = await redis.lpush("jobs", await request.text())
    return web.json_response({"jobs": length}, status=202)


async def take(request: web.Request) -> web.Response:
    """Wait for a job, and hold a connection all the while."""
    async with request.app[QUEUE].get_connection() as redis:
        job = await redis.brpop(["jobs"], timeout=float(request.query.get("wait", "2")))
    return web.Response(status=204) if job is None else web.json_response({"job": job[1]})


app = web.Application(middlewares=[number_requests, come_back_later])
app.add_routes([web.post("/jobs", put), web.get("/jobs/next", take)])
app.cleanup_ctx.append(pool_of_queue)

if __name__ == "__main__":
    web.run_app(app, port=int(os.environ.get("PORT", "8080")))
