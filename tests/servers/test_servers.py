"""Servers of our own, as processes that other tests can rely on."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, LiteralString

import psycopg
import pytest
import trustme

from instrumented_pool._servers import HOST, CannotStart, NotInstalled, Postgres, Server, Valkey, is_there
from support.waits import eventually

SERVERS = pytest.mark.parametrize("make", [Valkey, Postgres])


async def answers(server: Server) -> bool:
    """Whether it answers by itself within a fifth of a second."""
    try:
        async with asyncio.timeout(0.2):
            return await server.answers()
    except (OSError, TimeoutError):
        return False


@SERVERS
async def test_killed_server_comes_back_on_its_port(make: Callable[[], Server]) -> None:
    """As another process; nothing listens meanwhile."""
    async with make() as server:
        port, pid = server.port, server.pid
        server.kill()
        assert not await is_there(HOST, port)
        await server.start()
        assert server.port == port
        assert server.pid != pid


@SERVERS
async def test_paused_server_is_connected_to_and_answers_nothing_until_it_goes_on(make: Callable[[], Server]) -> None:
    """The kernel accepts in its place: a check that only connects is fooled."""
    async with make() as server:
        server.pause()
        assert await is_there(server.host, server.port)
        assert not await answers(server)
        server.resume()
        assert await server.answers()


@SERVERS
async def test_stopped_server_leaves_nothing_behind(make: Callable[[], Server]) -> None:
    """Neither a process nor a file, though it was paused."""
    async with make() as server:
        pid, port = server.pid, server.port
        server.pause()
    assert server.pid is None
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not await is_there(HOST, port)
    assert not server.directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel tells a process that its parent died")
@pytest.mark.parametrize("name", ["Valkey", "Postgres"])
def test_server_dies_with_us_however_we_die(name: str) -> None:
    """Were it by SIGKILL, which leaves us no time to say anything."""
    script = (
        "import asyncio, os, signal, sys\n"
        "from instrumented_pool import _servers\n"
        f"server = _servers.{name}()\n"
        "asyncio.run(server.start())\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with tempfile.TemporaryDirectory() as place:  # not tmp_path: the path of a UNIX socket has to be short
        environment = {**os.environ, "TMPDIR": place}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        asyncio.run(eventually(lambda: _is_gone(int(done.stdout))))


def _is_gone(pid: int) -> bool:
    """Ended, were it that nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_server_that_does_not_start_is_quoted() -> None:
    """With the last thing that it said."""
    with pytest.raises(CannotStart, match=r"Valkey does not start: .*'surely' \"not\"|Bad directive"):
        async with Valkey(surely="not"):
            pytest.fail("it started with a setting that it does not know")


class Nothing(Server):
    name: ClassVar[str] = "Nothing"

    def command(self) -> list[str]:
        raise NotInstalled("nothing is here: apt-get install nothing")

    async def answers(self) -> bool:
        return True


async def test_what_is_not_installed_is_named_and_leaves_no_directory() -> None:
    """With what to install."""
    nothing = Nothing()
    with pytest.raises(NotInstalled, match="apt-get install nothing"):
        await nothing.__aenter__()
    assert not nothing.directory.exists()


async def test_postgres_takes_settings(postgres: Postgres) -> None:
    """Of its own configuration; another one beside it has others."""
    async with Postgres(max_connections=7) as other:
        assert await ask(other.url, "SHOW max_connections") == "7"
    assert await ask(postgres.url, "SHOW max_connections") != "7"


async def test_postgres_asks_for_its_password() -> None:
    """And takes no other."""
    async with Postgres(password="open5esame") as postgres:
        assert await ask(postgres.url, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(postgres.url, password="wrong")
        here = f"host={postgres.directory} port={postgres.port} user={postgres.user}"
        assert await ask(here, "SELECT 1") == 1


async def test_postgres_speaks_tls(tmp_path: Path) -> None:
    """With the certificate that it is given."""
    authority, certificate = trustme.CA(), tmp_path / "certificate.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    async with Postgres(certificate=certificate) as postgres:
        url = f"{postgres.url}?sslmode=verify-full&sslrootcert={tmp_path / 'authority.pem'}"
        assert await ask(url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


async def ask(where: str, query: LiteralString) -> object:
    async with await psycopg.AsyncConnection.connect(where) as conn:
        row = await (await conn.execute(query)).fetchone()
        return row[0] if row else None
