"""Registries of prometheus_client, to be scraped."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from instrumented_pool._servers import HOST


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[int]:
    """The port of a registry behind the HTTP server that its users start."""
    server, thread = start_http_server(0, HOST, registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()
