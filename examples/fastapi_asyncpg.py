"""Orders over HTTP, kept in PostgreSQL. docs/examples.md says how to run it and what to look at."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg  # type: ignore[import-untyped]
import prometheus_client
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider

from instrumented_pool import ConnectionPool, PoolQueueFullError, PoolTimeoutError
from instrumented_pool.strategies.asyncpg import AsyncpgConnectionStrategy
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector

logger = logging.getLogger("uvicorn.error")
collector = PoolCollector()
prometheus_client.REGISTRY.register(collector)

pool = ConnectionPool(
    strategy=AsyncpgConnectionStrategy(os.environ["DATABASE_URL"]),
    name="orders-db",
    max_size=2,
    burst_limit=3,
    max_waiting=4,
    acquire_timeout=0.5,
    observers=[OTelObserver(meter_provider=NoOpMeterProvider()), collector],  # traces here, metrics there
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with pool:
        async with pool.get_connection() as database:
            await database.execute("CREATE TABLE IF NOT EXISTS orders (number serial PRIMARY KEY, item text NOT NULL)")
        yield
    # uvicorn ends by the signal that stops it, so what OpenTelemetry would do at exit is done here.
    await asyncio.to_thread(getattr(trace.get_tracer_provider(), "force_flush", lambda: None))


async def lend() -> AsyncIterator[asyncpg.Connection]:
    async with pool.get_connection() as database:
        yield database


# With this scope the connection is given back before the answer is sent: a slow client holds none.
Database = Annotated[asyncpg.Connection, Depends(lend, scope="function")]

app = FastAPI(lifespan=lifespan)
app.mount("/metrics", prometheus_client.make_asgi_app())


@app.exception_handler(PoolTimeoutError)
@app.exception_handler(PoolQueueFullError)
async def come_back_later(request: Request, error: Exception) -> JSONResponse:
    logger.warning("%s", error)  # a time-out names who holds the connections, and what they do with them
    return JSONResponse({"detail": "the database is busy"}, status_code=503, headers={"Retry-After": "1"})


@app.post("/orders", status_code=201)
async def order(item: str, database: Database) -> dict[str, object]:
    return {"number": await database.fetchval("INSERT INTO orders (item) VALUES ($1) RETURNING number", item)}


@app.get("/orders/{number}")
async def show(number: int, database: Database) -> dict[str, object]:
    item = await database.fetchval("SELECT item FROM orders WHERE number = $1", number)
    if item is None:
        raise HTTPException(404, f"there is no order {number}")
    return {"item": item}


@app.get("/report")
async def report(database: Database, seconds: float = 2.0) -> dict[str, object]:
    """As slow as a report on all orders would be, were there more of them."""
    return {"orders": await database.fetchval("SELECT count(*) FROM orders, pg_sleep($1)", seconds)}
