"""`RedisConnectionStrategy` against a real Valkey, through a proxy that can be disturbed."""

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from instrumented_pool import CloseReason, ConnectionPool, PoolTimeoutError
from instrumented_pool._servers import Proxy, Valkey
from instrumented_pool.strategies.redis import RedisConnectionStrategy, _line_of
from support.waits import eventually


def strategy_for(proxy: Proxy, **kwargs: Any) -> RedisConnectionStrategy:
    """The strategy under test, by way of the proxy."""
    return RedisConnectionStrategy(host=proxy.host, port=proxy.port, **kwargs)


async def clients_of(server: Valkey) -> int:
    """How many connections the server has, the one that asks not counted."""
    async with Redis(host=server.host, port=server.port) as client:
        return len(await client.client_list()) - 1


async def test_url_and_keywords_reach_the_same_server(server: Valkey) -> None:
    """A URL goes to `Redis.from_url`, keywords go to `Redis`, and options come along with both."""
    by_url = RedisConnectionStrategy(f"redis://{server.host}:{server.port}/2", decode_responses=True)
    by_name = RedisConnectionStrategy(host=server.host, port=server.port, db=2, decode_responses=True)
    writer, reader = await by_url.create_connection(), await by_name.create_connection()
    await writer.set("greeting", "hello")
    assert await reader.get("greeting") == "hello"
    await by_url.close_connection(writer)
    await by_name.close_connection(reader)


async def test_client_keeps_to_one_connection_whatever_is_done_with_it(server: Valkey, proxy: Proxy) -> None:
    """Commands at once, pipelines and transactions share the one connection; redis-py would open a second."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    await asyncio.gather(*(conn.set(f"key-{n}", n) for n in range(10)))
    async with conn.pipeline(transaction=True) as pipe:
        pipe.mget("key-3", "key-4")
        assert await pipe.execute() == [[b"3", b"4"]]
    assert await clients_of(server) == 1
    await strategy.close_connection(conn)


async def test_tasks_that_share_a_client_take_turns_on_it(proxy: Proxy) -> None:
    """None of them asks twice while another waits, as redis-py's own pool would let it."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    replies: list[str] = []

    async def ask(name: str) -> None:
        for _ in range(5):
            await conn.ping()
            replies.append(name)

    await asyncio.gather(ask("one"), ask("two"))
    assert replies == ["one", "two"] * 5
    await strategy.close_connection(conn)


async def test_connection_is_dialled_when_it_is_created(server: Valkey, proxy: Proxy) -> None:
    """The time of dialling is the pool's to measure, not the first command's."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    assert await clients_of(server) == 1
    await strategy.close_connection(conn)


async def test_server_that_is_away_fails_at_creation_at_once(proxy: Proxy) -> None:
    """One attempt: redis-py's ten are not made behind the pool's back."""
    strategy = strategy_for(proxy)
    proxy.refuse()
    async with asyncio.timeout(1):
        with pytest.raises(redis.ConnectionError):
            await strategy.create_connection()


async def test_cancelled_creation_leaves_no_socket_open(server: Valkey, proxy: Proxy) -> None:
    """Cancelled in the middle of the greeting, it hangs up."""
    strategy = strategy_for(proxy)
    proxy.stall()
    creation = asyncio.create_task(strategy.create_connection())
    await eventually(lambda: bool(proxy.links))
    creation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation
    proxy.resume()
    await eventually(lambda: not proxy.links)


async def test_refused_credentials_leave_no_socket_open(proxy: Proxy) -> None:
    """A greeting that fails hangs up too, and does not repeat the password."""
    strategy = RedisConnectionStrategy(f"redis://me:hunter2@127.0.0.1:{proxy.port}")
    with pytest.raises(redis.AuthenticationError) as caught:
        await strategy.create_connection()
    assert "hunter2" not in str(caught.value)
    await eventually(lambda: not proxy.links)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_connection_cut_while_idle_is_seen_as_closed(proxy: Proxy, reset: bool) -> None:
    """Without sending anything: asyncio has been told, and that is asked."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    assert not strategy.connection_is_closed(conn)
    await proxy.cut(reset=reset)
    await eventually(lambda: strategy.connection_is_closed(conn))
    await strategy.close_connection(conn)


async def test_last_words_of_a_server_are_nobodys_reply() -> None:
    """It says why it hangs up, to nobody in particular: that hides the end behind it, and would be read as a reply."""
    said = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"PING" not in (asked := await reader.read(1000)):
            writer.write(b"+OK\r\n" * asked.count(b"*"))
        writer.write(b"+PONG\r\n")
        await said.wait()
        writer.write(b"-ERR idle for too long\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        strategy = RedisConnectionStrategy(host=host, port=port, protocol=2)
        conn = await strategy.create_connection()
        assert await conn.ping()
        assert not strategy.connection_is_closed(conn)
        said.set()
        await eventually(lambda: strategy.connection_is_closed(conn))
        with pytest.raises(redis.ConnectionError, match="broken"):
            await conn.ping()
        await strategy.close_connection(conn)


async def test_killed_server_is_seen_as_closed(server: Valkey, proxy: Proxy) -> None:
    """SIGKILL of the real server, its sockets closed by the kernel."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    server.kill()
    await eventually(lambda: strategy.connection_is_closed(conn))
    await strategy.close_connection(conn)


async def test_broken_connection_is_not_redialled_in_secret(server: Valkey, proxy: Proxy) -> None:
    """Commands on it fail for good, though the server would take a new connection."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    await proxy.cut()
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            await conn.ping()
    assert await clients_of(server) == 0
    await strategy.close_connection(conn)


async def test_caller_who_asks_for_retries_has_them(server: Valkey, proxy: Proxy) -> None:
    """With `retry` given, redis-py redials as it always does."""
    strategy = strategy_for(proxy, retry=Retry(NoBackoff(), 1))
    conn = await strategy.create_connection()
    await proxy.cut()
    assert await conn.ping()
    await strategy.close_connection(conn)


async def test_client_given_back_with_a_pipeline_open_is_not_lent_again(proxy: Proxy) -> None:
    """The next borrower would wait for a connection that nobody will free."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    pipe = conn.pipeline()
    await pipe.watch("key")
    assert strategy.connection_is_closed(conn)
    with pytest.raises(RuntimeError, match="given back with a pipeline, a pub/sub or a command still open"):
        strategy.reset_connection(conn)
    await pipe.reset()  # type: ignore[no-untyped-call]
    assert not strategy.connection_is_closed(conn)
    assert strategy.reset_connection(conn) is None
    await strategy.close_connection(conn)


@pytest.mark.parametrize(("forgotten", "reason"), [(False, "stale"), (True, "dirty")], ids=["closed", "forgotten"])
async def test_subscriptions_end_with_the_body(proxy: Proxy, forgotten: bool, reason: CloseReason) -> None:
    """A pub/sub takes its connection along, and the next borrower gets replies and no messages."""
    async with ConnectionPool(strategy=strategy_for(proxy), max_size=1) as pool:
        async with pool.get_connection() as conn:
            pubsub = conn.pubsub()
            await pubsub.subscribe("news")
            if not forgotten:
                await pubsub.aclose()  # type: ignore[no-untyped-call]
        async with pool.get_connection() as conn:
            assert await conn.publish("news", "to nobody") == 0
            assert await conn.ping()
        assert pool.stats().closed[reason] == 1


@pytest.mark.parametrize("in_pipeline", [False, True])
async def test_next_borrower_is_in_the_database_that_was_configured(proxy: Proxy, in_pipeline: bool) -> None:
    """Whatever the last one has selected, on the same connection."""
    strategy = RedisConnectionStrategy(host=proxy.host, port=proxy.port, db=2)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as conn, conn.pipeline() as pipe:
            if in_pipeline:
                pipe.select(3)
                assert await pipe.execute() == [True]
            else:
                assert await conn.select(3)
            assert (await conn.client_info())["db"] == 3
        async with pool.get_connection() as conn:
            assert (await conn.client_info())["db"] == 2
        assert pool.stats().created == 1


@pytest.mark.parametrize("command", [("SELECT 3",), (b"SELECT", 3), (" select", 3), ("MULTI",), (b"multi",)])
async def test_what_is_undone_does_not_depend_on_the_spelling(proxy: Proxy, command: tuple[str | bytes, ...]) -> None:
    """redis-py sends all of these as they are meant."""
    async with ConnectionPool(strategy=strategy_for(proxy, db=2), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.execute_command(*command)  # type: ignore[no-untyped-call]
        async with pool.get_connection() as conn:
            assert (await conn.client_info())["db"] == 2
        assert pool.stats().created == 1


@pytest.mark.parametrize("command", [("SUBSCRIBE", "news"), ("AUTH", "default", ""), ("RESET",), ("MONITOR",)])
async def test_client_given_back_after_what_cannot_be_undone_is_not_lent_again(
    proxy: Proxy, command: tuple[str, ...]
) -> None:
    """The next borrower is neither subscribed to anything nor another user."""
    async with ConnectionPool(strategy=strategy_for(proxy, protocol=2), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.execute_command(*command)  # type: ignore[no-untyped-call]
        async with pool.get_connection() as conn:
            assert await conn.ping()
        assert pool.stats().closed["dirty"] == 1


async def test_next_borrower_is_in_no_transaction(proxy: Proxy) -> None:
    """Begun by hand, where pipelines tidy up by themselves, and not ended."""
    async with ConnectionPool(strategy=strategy_for(proxy), max_size=1) as pool:
        async with pool.get_connection() as conn:
            for command in ("MULTI", "SET half done"):
                await conn.execute_command(*command.split())  # type: ignore[no-untyped-call]
        async with pool.get_connection() as conn:
            assert await conn.get("half") is None
        assert pool.stats().created == 1


async def test_nothing_is_sent_for_a_connection_that_was_left_as_it_was(server: Valkey, proxy: Proxy) -> None:
    """Whether it needs to be reset is known without asking the server, also after a watched transaction."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    async with conn.pipeline() as pipe:
        await pipe.watch("key")
        pipe.multi()  # type: ignore[no-untyped-call]
        pipe.set("key", "value")
        await pipe.execute()
    assert strategy.reset_connection(conn) is None
    await strategy.close_connection(conn)


async def test_idle_connection_that_answers_no_more_is_found_out(server: Valkey, proxy: Proxy) -> None:
    """It looks alive; only a `PING` tells, which an idle pool sends in the background."""
    strategy = strategy_for(proxy, check_after=0.05)
    async with ConnectionPool(strategy=strategy, max_size=1, min_size=1, close_timeout=0.5) as pool:
        async with pool.get_connection() as conn:
            await conn.config_resetstat()
        async with Redis(host=server.host, port=server.port) as client, asyncio.timeout(10):
            while (await client.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"] < 2:
                await asyncio.sleep(0)
        assert pool.stats().closed["stale"] == 0
        proxy.stall()
        assert not strategy.connection_is_closed(conn)
        await eventually(lambda: pool.stats().closed["stale"] == 1)
        proxy.resume()


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        (["redis://me:hunter2@db.example:7000/2"], {}, ("db.example", 7000, "2")),
        (["redis://"], {}, ("localhost", 6379, "0")),
        ([], {"host": "db.example", "db": 3, "password": "hunter2"}, ("db.example", 6379, "3")),
        (["unix:///run/redis.sock?db=1"], {}, ("/run/redis.sock", None, "1")),
        ([], {"unix_socket_path": "/run/redis.sock"}, ("/run/redis.sock", None, "0")),
    ],
)
def test_exporters_are_told_where_the_server_is(
    args: list[str], kwargs: dict[str, Any], told: tuple[str, int | None, str]
) -> None:
    """Its address, its port and the database, and never who asks."""
    pool = ConnectionPool(strategy=RedisConnectionStrategy(*args, **kwargs), max_size=1)
    address, port, database = told
    ports = {} if port is None else {"server.port": port}
    assert pool.attributes == {"db.system.name": "redis", "db.namespace": database, "server.address": address, **ports}


async def test_connections_share_what_they_know_of_tls(server: Valkey, tmp_path: Path) -> None:
    """To read the certificates anew for each would keep the event loop from all else."""
    authority, shown = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(shown)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Proxy(server.host, server.port, tls=shown) as proxy:
        strategy = strategy_for(proxy, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem"))
        conns = [await strategy.create_connection() for _ in range(2)]
        one, other = (_line_of(conn)._only._writer for conn in conns)
        assert one is not None
        assert other is not None
        assert one.get_extra_info("sslcontext") is other.get_extra_info("sslcontext") is not None
        for conn in conns:
            assert await conn.ping()
            await strategy.close_connection(conn)


async def test_close_closes_the_socket(server: Valkey, proxy: Proxy) -> None:
    """The server sees it, and so does `connection_is_closed`."""
    strategy = strategy_for(proxy)
    conn = await strategy.create_connection()
    await strategy.close_connection(conn)
    assert strategy.connection_is_closed(conn)
    await eventually(lambda: not proxy.links)
    assert await clients_of(server) == 0


async def test_close_cut_short_leaves_no_socket_open(proxy: Proxy) -> None:
    """What is still to be sent to a server that reads nothing is not waited for, once the pool's time is up."""
    strategy = strategy_for(proxy)
    async with ConnectionPool(strategy=strategy, max_size=1, close_timeout=0.05) as pool:
        async with pool.get_connection() as conn:
            writer = _line_of(conn)._only._writer
            assert writer is not None
            sock = writer.get_extra_info("socket")
        proxy.stall()
        writer.write(bytes(50_000_000))
    assert pool.stats().close_errors == 1
    await eventually(lambda: sock.fileno() == -1)
    proxy.resume()


async def test_pool_replaces_what_the_server_cut(proxy: Proxy) -> None:
    """The whole way round: a cut connection is dropped as stale and the caller gets a fresh one."""
    strategy = strategy_for(proxy)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.set("key", "value")
        await proxy.cut()
        await eventually(lambda: strategy.connection_is_closed(conn))
        async with pool.get_connection() as conn:
            assert await conn.get("key") == b"value"
        assert pool.stats().closed["stale"] == 1


async def test_borrower_timed_out_in_a_command_does_not_leave_its_reply_behind(proxy: Proxy) -> None:
    """A command cut short by `asyncio.timeout` costs its connection; the next borrower reads its own reply."""
    async with ConnectionPool(strategy=strategy_for(proxy), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.set("mine", "mine")
            await conn.set("yours", "yours")
        proxy.stall()
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as conn, asyncio.timeout(0.01):
                await conn.get("yours")
        proxy.resume()
        async with pool.get_connection() as conn:
            assert await conn.get("mine") == b"mine"


async def test_waiting_caller_learns_why_no_connection_could_be_made(proxy: Proxy) -> None:
    """A server that accepts and says nothing: the caller's own time-out ends the wait."""
    async with ConnectionPool(strategy=strategy_for(proxy), max_size=1) as pool:
        proxy.stall()
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0.01):
                pytest.fail("a connection to a server that says nothing")
        proxy.resume()


@pytest.mark.parametrize("name", ["single_connection_client", "max_connections", "connection_pool"])
def test_arguments_that_would_undo_one_connection_each_are_refused(name: str) -> None:
    """They are named, and so is what to use instead."""
    with pytest.raises(TypeError, match=f"sets {name} itself.*max_size"):
        RedisConnectionStrategy("redis://localhost", **{name: None})


@pytest.mark.parametrize("url", ["postgres://me:hunter2@db", "redis://me:hun/ter2@db", "redis://me:hunter2@db?db=x"])
def test_bad_url_is_refused_at_once_without_being_repeated(url: str) -> None:
    """It may hold a password, and urllib would quote a piece of it."""
    with pytest.raises(ValueError, match="not a Redis URL") as caught:
        RedisConnectionStrategy(url)
    assert "hun" not in str(caught.value)


def test_unknown_argument_is_refused_at_once() -> None:
    """Not at the first connection, in production, at night."""
    with pytest.raises(TypeError, match="hots"):
        RedisConnectionStrategy(hots="localhost")


def test_missing_driver_names_the_extra() -> None:
    """Without redis-py the import says what to install."""
    script = "import sys; sys.modules['redis'] = None; import instrumented_pool.strategies.redis"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ImportError: RedisConnectionStrategy needs redis-py: pip install 'instrumented-pool[redis]'" in done.stderr
