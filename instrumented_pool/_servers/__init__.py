"""Real servers of our own, for the demo, the tests and the benchmarks: each a process on a free loopback port."""

from ._postgres import Postgres
from ._proxy import Proxy
from ._server import HOST, CannotStart, NotInstalled, Server, free_port, is_there
from ._valkey import Valkey

__all__ = ["HOST", "CannotStart", "NotInstalled", "Postgres", "Proxy", "Server", "Valkey", "free_port", "is_there"]
