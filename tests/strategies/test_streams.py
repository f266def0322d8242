"""`StreamsConnectionStrategy` against real sockets: TCP, TLS and UNIX, through a proxy that can be disturbed."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from instrumented_pool import CloseError, ConnectionPool
from instrumented_pool._servers import Proxy, Valkey
from instrumented_pool.strategies.streams import Stream, StreamsConnectionStrategy
from instrumented_pool.testing import RecordingObserver, sweep_cancellations
from support.waits import eventually


async def ask(stream: Stream, word: str) -> str:
    """What the server says to a word: the same, in capitals."""
    stream.writer.write(f"{word}\n".encode())
    return (await stream.reader.readline()).decode().rstrip()


class Capitals:
    """The server: answers each line in capitals, until the client hangs up or the test is over."""

    def __init__(self) -> None:
        self._links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._answer(reader, writer))
        self._links[task] = writer
        task.add_done_callback(self._links.pop)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(line.upper())
        writer.transport.abort()

    async def hang_up(self) -> None:
        for writer in self._links.values():
            writer.transport.abort()
        await asyncio.gather(*self._links)


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def serving(**kwargs: Any) -> AsyncIterator[Proxy]:
    """The server, by way of a proxy."""
    capitals = Capitals()
    server = await asyncio.start_server(capitals.admit, "127.0.0.1", 0, **kwargs)
    async with server, Proxy(*server.sockets[0].getsockname()[:2]) as proxy:
        yield proxy
        await capitals.hang_up()


def strategy_for(proxy: Proxy, **kwargs: Any) -> StreamsConnectionStrategy:
    return StreamsConnectionStrategy(proxy.host, proxy.port, **kwargs)


def socket_of(stream: Stream) -> socket.socket:
    """While it is open; its `fileno()` is -1 once it is not."""
    sock: socket.socket = stream.writer.get_extra_info("socket")
    return sock


@pytest.fixture
async def plain() -> AsyncIterator[Proxy]:
    """Over TCP."""
    async with serving() as proxy:
        yield proxy


@pytest.fixture
async def secure() -> AsyncIterator[Proxy]:
    """Over TLS."""
    async with serving(ssl=server_tls()) as proxy:
        yield proxy


async def test_tcp(plain: Proxy) -> None:
    """The whole way round: a connection is lent twice, closed with the pool, and named to exporters."""
    pool = ConnectionPool(strategy=strategy_for(plain), max_size=1)
    async with pool:
        async with pool.get_connection() as stream:
            assert await ask(stream, "one") == "ONE"
        async with pool.get_connection() as stream:
            assert await ask(stream, "two") == "TWO"
            sock = socket_of(stream)
    assert sock.fileno() == -1
    assert pool.stats().created == 1
    assert pool.attributes == {"server.address": "127.0.0.1", "server.port": plain.port}


async def test_tls(secure: Proxy) -> None:
    """`ssl` goes to asyncio as it is."""
    pool = ConnectionPool(strategy=strategy_for(secure, ssl=client_tls()), max_size=1)
    async with pool, pool.get_connection() as (reader, writer):
        assert await ask(Stream(reader, writer), "word") == "WORD"
        assert writer.get_extra_info("ssl_object").version() is not None
    assert pool.stats().close_errors == 0


async def test_unix_socket(tmp_path: Path) -> None:
    """Named by its path, which is also the server's address."""
    path, capitals = tmp_path / "socket", Capitals()
    async with await asyncio.start_unix_server(capitals.admit, path):
        pool = ConnectionPool(strategy=StreamsConnectionStrategy(path=path), max_size=1)
        async with pool, pool.get_connection() as stream:
            assert await ask(stream, "word") == "WORD"
        await capitals.hang_up()
    assert pool.attributes == {"server.address": str(path)}


async def test_server_that_says_nothing_fails_at_creation_in_time(secure: Proxy) -> None:
    """The time-out is for the TLS handshake, too, and leaves no socket open."""
    secure.stall()
    with pytest.raises(TimeoutError):
        await strategy_for(secure, ssl=client_tls(), connect_timeout=0.02).create_connection()
    secure.resume()
    await eventually(lambda: not secure.links)


async def test_server_that_is_not_who_it_should_be_is_refused(secure: Proxy) -> None:
    """A certificate of nobody's; no socket stays open."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await strategy_for(secure, ssl=ssl.create_default_context()).create_connection()
    await eventually(lambda: not secure.links)


async def test_cancelled_creation_leaves_no_socket_open(secure: Proxy) -> None:
    """Cancelled in the middle of the TLS handshake, it hangs up."""
    secure.stall()
    creation = asyncio.create_task(strategy_for(secure, ssl=client_tls()).create_connection())
    await eventually(lambda: bool(secure.links))
    creation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation
    secure.resume()
    await eventually(lambda: not secure.links)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_connection_cut_while_idle_is_seen_as_closed_and_closes_without_error(plain: Proxy, reset: bool) -> None:
    """Without sending anything: asyncio has been told, and that is asked."""
    strategy = strategy_for(plain)
    stream = await strategy.create_connection()
    sock = socket_of(stream)
    assert not strategy.connection_is_closed(stream)
    await plain.cut(reset=reset)
    await eventually(lambda: strategy.connection_is_closed(stream))
    await strategy.close_connection(stream)
    assert sock.fileno() == -1


async def test_reply_left_unread_costs_the_connection(plain: Proxy) -> None:
    """The next borrower would read it. Observers hear why."""
    recorder = RecordingObserver()
    async with ConnectionPool(strategy=strategy_for(plain), max_size=1, observers=[recorder]) as pool:
        async with pool.get_connection() as stream:
            stream.writer.write(b"mine\nmine too\n")
            assert await stream.reader.readline() == b"MINE\n"
            await eventually(lambda: pool._strategy.connection_is_closed(stream))
        async with pool.get_connection() as stream:
            assert await ask(stream, "yours") == "YOURS"
        assert pool.stats().closed["dirty"] == 1
    assert [str(event.error) for event in recorder.of(CloseError)] == ["given back with 9 bytes unread"]


async def test_reply_that_comes_when_nobody_waits_costs_the_connection(plain: Proxy) -> None:
    """It was not there yet when the connection was given back, but is when it would be lent again."""
    async with ConnectionPool(strategy=strategy_for(plain), max_size=1) as pool:
        async with pool.get_connection() as stream:
            assert await ask(stream, "one") == "ONE"
            stream.writer.write(b"late\n")
        await eventually(lambda: pool._strategy.connection_is_closed(stream))
        async with pool.get_connection() as stream:
            assert await ask(stream, "yours") == "YOURS"
        assert pool.stats().closed["stale"] == 1


async def test_borrower_timed_out_in_a_request_does_not_leave_its_reply_behind(plain: Proxy) -> None:
    """`asyncio.timeout` inside of the body makes a `TimeoutError` of the cancellation: no less unfit for reuse."""
    async with ConnectionPool(strategy=strategy_for(plain), max_size=1) as pool:
        async with pool.get_connection() as stream:
            assert await ask(stream, "warm") == "WARM"
        plain.stall()
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as stream, asyncio.timeout(0.01):
                await ask(stream, "mine")
        plain.resume()
        async with pool.get_connection() as stream:
            assert await ask(stream, "yours") == "YOURS"
        assert pool.stats().closed["dirty"] == 1


async def test_close_that_the_server_leaves_unanswered_is_cut_short(secure: Proxy) -> None:
    """TLS says good-bye and waits for the other's, for 30 s; the pool's `close_timeout` ends that, socket and all."""
    pool = ConnectionPool(strategy=strategy_for(secure, ssl=client_tls()), max_size=1, close_timeout=0.02)
    async with pool:
        async with pool.get_connection() as stream:
            sock = socket_of(stream)
        secure.stall()
    assert pool.stats().close_errors == 1
    await eventually(lambda: sock.fileno() == -1)
    secure.resume()


async def test_close_sends_what_is_still_to_be_sent(plain: Proxy) -> None:
    """As much as a socket does not take at once: the server gets it to the last byte."""
    received = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(len(await reader.read()))
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        strategy = StreamsConnectionStrategy(*server.sockets[0].getsockname()[:2])
        stream = await strategy.create_connection()
        stream.writer.write(bytes(10_000_000))
        await strategy.close_connection(stream)
        assert await received == 10_000_000


async def test_idle_connection_that_answers_no_more_is_found_out(plain: Proxy) -> None:
    """It looks alive; only asking tells. The pool does so in the background, and an answer keeps the connection."""
    answers: list[str] = []

    async def ping(stream: Stream) -> None:
        answers.append(await ask(stream, "ping"))

    strategy = strategy_for(plain, check=ping, check_after=0.01)
    async with ConnectionPool(strategy=strategy, max_size=1, min_size=1, close_timeout=0.5) as pool:
        await eventually(lambda: answers == ["PING", "PING"])
        assert pool.stats().closed["stale"] == 0
        plain.stall()
        await eventually(lambda: pool.stats().closed["stale"] == 1)
        plain.resume()


async def test_check_that_leaves_bytes_unread_fails(plain: Proxy) -> None:
    """Then either the check is wrong, or the connection answers a question of long ago."""

    async def careless(stream: Stream) -> None:
        stream.writer.write(b"one\ntwo\n")
        await eventually(lambda: len(stream.reader._buffer) > 4)  # type: ignore[attr-defined]
        await stream.reader.readline()

    strategy = strategy_for(plain, check=careless, check_after=1.0)
    stream = await strategy.create_connection()
    with pytest.raises(ValueError, match="4 bytes unread"):
        await strategy.check_connection(stream)
    await strategy.close_connection(stream)


@pytest.mark.parametrize("kwargs", [{}, {"port": 1, "path": "/socket"}], ids=["neither", "both"])
def test_server_is_named_in_one_way(kwargs: dict[str, Any]) -> None:
    """By a port or by a path."""
    with pytest.raises(ValueError, match="either host and port, or path"):
        StreamsConnectionStrategy(**kwargs)


@pytest.mark.parametrize("kwargs", [{"check": ask}, {"check_after": 1.0}], ids=["no seconds", "no question"])
def test_check_is_given_whole_or_not_at_all(kwargs: dict[str, Any]) -> None:
    """A strategy for streams cannot make up a question."""
    with pytest.raises(ValueError, match="check and check_after go together"):
        StreamsConnectionStrategy(port=1, **kwargs)


@pytest.mark.parametrize("repeatedly", [False, True])
def test_caller_cancelled_anywhere_leaves_its_slot_and_no_reply_behind(server: Valkey, repeatedly: bool) -> None:
    """While it connects, asks, waits for the reply, or gives the connection back; a real server answers."""
    recorder = RecordingObserver()

    async def setup() -> ConnectionPool[Stream]:
        strategy = StreamsConnectionStrategy(server.host, server.port)
        return ConnectionPool(strategy=strategy, max_size=1, observers=[recorder])

    async def echo(stream: Stream, word: str) -> bytes:
        stream.writer.write(f"ECHO {word}\r\n".encode())
        await stream.reader.readline()
        return await stream.reader.readline()

    async def scenario(pool: ConnectionPool[Stream]) -> None:
        async with pool.get_connection() as stream:
            assert await echo(stream, "mine") == b"mine\r\n"

    async def check(pool: ConnectionPool[Stream]) -> None:
        async with pool, pool.get_connection(timeout=5.0) as stream:
            assert await echo(stream, "yours") == b"yours\r\n"

    assert sweep_cancellations(scenario, setup=setup, check=check, repeatedly=repeatedly) > 10
    recorder.assert_paired()
