"""The proxy in front of a real server."""

import asyncio

import pytest

from instrumented_pool._servers import Proxy, Valkey


async def ping(proxy: Proxy) -> bytes:
    """Asks the server, by way of the proxy, on a connection of its own."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"PING\r\n")
    try:
        return await reader.readline()
    finally:
        writer.transport.abort()


async def test_everything_is_passed_on(proxy: Proxy) -> None:
    """Undisturbed, it is not noticed."""
    assert await ping(proxy) == b"+PONG\r\n"


async def test_answers_are_delayed(proxy: Proxy) -> None:
    """By the time that it is told."""
    proxy.delay = 0.05
    loop = asyncio.get_running_loop()
    asked = loop.time()
    await ping(proxy)
    assert loop.time() - asked >= 0.05


async def test_stall_accepts_and_answers_nothing_until_it_is_over(proxy: Proxy) -> None:
    """A connect-only check would be fooled; what was asked meanwhile is answered afterwards."""
    proxy.stall()
    asked = asyncio.create_task(ping(proxy))
    done, _ = await asyncio.wait({asked}, timeout=0.05)
    assert not done
    assert len(proxy.links) == 1
    proxy.resume()
    assert await asked == b"+PONG\r\n"


async def test_cut_ends_with_fin(proxy: Proxy) -> None:
    """The other side reads the end."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"PING\r\n")
    await reader.readline()
    await proxy.cut()
    assert await reader.read() == b""
    writer.close()


async def test_cut_ends_with_rst(proxy: Proxy) -> None:
    """The other side is told that the connection was lost."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"PING\r\n")
    await reader.readline()
    await proxy.cut(reset=True)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_refused_is_refused_and_accepted_again_on_the_same_port(proxy: Proxy) -> None:
    """As a server that is restarted."""
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await ping(proxy)
    await proxy.accept()
    assert proxy.port == port
    assert await ping(proxy) == b"+PONG\r\n"


async def test_server_that_is_away_resets(server: Valkey, proxy: Proxy) -> None:
    """There is nobody to pass anything on to."""
    server.kill()
    with pytest.raises(ConnectionResetError):
        await ping(proxy)
