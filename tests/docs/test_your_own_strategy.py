"""The page on a strategy of one's own: its code is run on a real Valkey, and says what the page shows."""

import asyncio
from types import ModuleType
from typing import Any

import pytest

from instrumented_pool import ConnectionPool
from instrumented_pool._servers import Proxy, Valkey
from instrumented_pool.testing import RecordingObserver, sweep_cancellations
from support.pages import DOCS, block, blocks
from support.waits import eventually

PAGE = DOCS / "strategies" / "your-own.md"


@pytest.fixture
def page() -> ModuleType:
    """What the code of the page defines."""
    page = ModuleType("page")
    exec(compile("\n\n".join(blocks(PAGE, "python")), PAGE.name, "exec"), vars(page))
    return page


def test_strategy_is_written_in_thirty_lines() -> None:
    """Not counting imports and empty ones."""
    _, strategy = block(PAGE, "python", containing="class LineStrategy").split("class LineStrategy")
    assert len([line for line in strategy.splitlines() if line.strip()]) <= 30


async def test_code_on_the_page_prints_what_the_page_shows(
    page: ModuleType, server: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a server that nobody else uses."""
    await page.main(server.host, server.port)
    assert [capsys.readouterr().out] == blocks(PAGE, "")


@pytest.mark.parametrize("repeatedly", [False, True])
def test_caller_cancelled_anywhere_leaves_nothing_behind(page: ModuleType, server: Valkey, repeatedly: bool) -> None:
    """Neither a connection nor an answer, nor another database."""
    recorder = RecordingObserver()

    async def setup() -> ConnectionPool[Any]:
        strategy = page.LineStrategy(server.host, server.port)
        return ConnectionPool(strategy=strategy, max_size=1, observers=[recorder])

    async def borrow(pool: ConnectionPool[Any]) -> None:
        async with pool.get_connection() as conn:
            await conn.select(1)
            assert await conn.ask("EXISTS mine") == ":0"

    async def check(pool: ConnectionPool[Any]) -> None:
        async with pool, pool.get_connection(timeout=5.0) as conn:
            assert await conn.ask("GET mine") == "$-1"
            assert (conn.database, conn.owed) == (0, 0)

    assert sweep_cancellations(borrow, setup=setup, check=check, repeatedly=repeatedly) > 10
    recorder.assert_paired()


async def test_dead_connections_are_found_out(page: ModuleType, proxy: Proxy) -> None:
    """The one that was cut by looking, the one that hangs by asking."""
    strategy = page.LineStrategy(proxy.host, proxy.port)
    conn = await strategy.create_connection()
    assert not strategy.connection_is_closed(conn)
    proxy.stall()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(strategy.check_connection(conn), 0.02)
    assert not strategy.connection_is_closed(conn)
    proxy.resume()
    await proxy.cut(reset=True)
    await eventually(lambda: strategy.connection_is_closed(conn))
    await strategy.close_connection(conn)


async def test_creation_that_is_cut_short_hangs_up(page: ModuleType, proxy: Proxy) -> None:
    """In the middle of the greeting."""
    proxy.stall()
    creation = asyncio.create_task(page.LineStrategy(proxy.host, proxy.port).create_connection())
    await eventually(lambda: bool(proxy.links))
    creation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation
    proxy.resume()
    await eventually(lambda: not proxy.links)
