"""Names for what the tests make most."""

from collections.abc import Callable
from typing import TypeAlias

from instrumented_pool import ConnectionPool
from instrumented_pool.testing import FakeConnection

Pool: TypeAlias = ConnectionPool[FakeConnection]
MakePool: TypeAlias = Callable[..., Pool]
