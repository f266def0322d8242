"""The proxy in front of a real server."""

import asyncio
import ssl
import sys

import pytest
import trustme

from instrumented_pool._servers import HOST, Proxy, Valkey
from support.waits import eventually


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
    await eventually(lambda: len(proxy.links) == 1)
    done, _ = await asyncio.wait({asked}, timeout=0.05)
    assert not done
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


async def test_connection_cut_as_it_is_admitted_is_cut(proxy: Proxy) -> None:
    """Before the task that serves it has made its first step, and so cannot close anything."""
    dialling = asyncio.create_task(asyncio.open_connection(proxy.host, proxy.port))
    while not proxy.links:
        await asyncio.sleep(0)
    await proxy.cut()
    reader, writer = await dialling
    async with asyncio.timeout(5):
        assert await reader.read() == b""
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


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do something else with who knocks at a full queue")
async def test_ignored_connection_is_neither_taken_nor_refused(proxy: Proxy) -> None:
    """As behind a firewall that drops it; the one that was there stays, and later ones are taken again."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    proxy.ignore()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ping(proxy)
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"+PONG\r\n"
    writer.close()
    await proxy.accept()
    assert await ping(proxy) == b"+PONG\r\n"


async def test_swallowed_answer_breaks_off_in_the_middle_for_good(proxy: Proxy) -> None:
    """Nothing more comes on that connection, even when others are well again."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    proxy.swallows = True
    writer.write(b"PING\r\n")
    assert await reader.read(100) == b"+PON"
    proxy.swallows = False
    writer.write(b"PING\r\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(100)
    writer.close()
    assert await ping(proxy) == b"+PONG\r\n"


async def test_new_connections_go_where_the_target_is(server: Valkey, proxy: Proxy) -> None:
    """After a fail-over; those that were there stay where they are."""
    old = await asyncio.open_connection(proxy.host, proxy.port)
    assert await port_behind(*old) == server.port
    async with Valkey() as other:
        proxy.target = other.host, other.port
        new = await asyncio.open_connection(proxy.host, proxy.port)
        assert await port_behind(*new) == other.port
        assert await port_behind(*old) == server.port
    for _, writer in (old, new):
        writer.close()


async def port_behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The port of the server that answers."""
    writer.write(b"CONFIG GET port\r\n")
    return int([await reader.readline() for _ in range(5)][-1])


async def test_tls_ends_at_the_proxy(server: Valkey) -> None:
    """The server behind it speaks none."""
    authority, shown = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(shown)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with Proxy(server.host, server.port, tls=shown) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port, ssl=trusting)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        writer.close()
        await writer.wait_closed()
