"""Strategies of the ancestor, and of nobody, become ours."""

import asyncio
from typing import Any

import pytest

from instrumented_pool import ConnectionPool, ConnectionStrategy
from instrumented_pool.compat import adapt_strategy


class Old:
    """As users of `asyncio-connection-pool` wrote it, without its base class: `close_connection` async."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.made = 0

    async def make_connection(self) -> int:
        self.made += 1
        return self.made

    def connection_is_closed(self, conn: int) -> bool:
        return conn in self.closed

    async def close_connection(self, conn: int) -> None:
        self.closed.append(conn)


class OldSync:
    """As it was written before 1.0: `close_connection` a plain function."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    async def make_connection(self) -> str:
        return "made"

    def connection_is_closed(self, conn: str) -> bool:
        return conn in self.closed

    def close_connection(self, conn: str) -> None:
        self.closed.append(conn)


class Both(Old):
    """Half moved to the new name."""

    async def create_connection(self) -> int:
        return 100


class Knowing(Old):
    """Has the new hook without the new base class."""

    def connection_is_reusable(self, conn: int, error: BaseException) -> bool:
        return isinstance(error, KeyboardInterrupt)


class Careful(Both):
    """Has all that a strategy of ours may have, without being one."""

    check_after = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.reset: list[int] = []

    @property
    def attributes(self) -> dict[str, str]:
        return {"server.address": "db.example"}

    async def reset_connection(self, conn: int) -> None:
        self.reset.append(conn)

    async def check_connection(self, conn: int) -> None:
        raise ConnectionError


class Ours(ConnectionStrategy[int]):
    async def create_connection(self) -> int:
        return 1

    def connection_is_closed(self, conn: int) -> bool:
        return False

    def close_connection(self, conn: int) -> None: ...


def test_strategy_of_ours_is_returned_as_it_is() -> None:
    """Adapting twice, or needlessly, changes nothing."""
    ours = Ours()
    assert adapt_strategy(ours) is ours
    adapted = adapt_strategy(Old())
    assert adapt_strategy(adapted) is adapted


async def test_make_connection_is_what_create_connection_calls() -> None:
    """The old name still makes the connection."""
    old = Old()
    assert await adapt_strategy(old).create_connection() == 1
    assert old.made == 1


async def test_create_connection_is_preferred_where_both_exist() -> None:
    """A strategy in the middle of its move is asked by the new name."""
    assert await adapt_strategy(Both()).create_connection() == 100


async def test_pool_runs_on_an_old_strategy() -> None:
    """Made, lent, burst, and the burst connection closed by the old async method."""
    old = Old()
    pool = ConnectionPool(strategy=adapt_strategy(old), max_size=1, burst_limit=2)
    async with pool.get_connection() as first, pool.get_connection() as second:
        assert {first, second} == {1, 2}
    await pool.close()
    assert sorted(old.closed) == [1, 2]


async def test_pool_runs_on_an_old_strategy_that_closes_synchronously() -> None:
    """`close_connection` may be a plain function, as it could in the ancestor."""
    old = OldSync()
    async with ConnectionPool(strategy=adapt_strategy(old), max_size=1) as pool, pool.get_connection() as conn:
        assert conn == "made"
    assert old.closed == ["made"]


def test_connection_is_reusable_is_forwarded_where_there_is_one() -> None:
    """Otherwise the default of `ConnectionStrategy` holds."""
    assert adapt_strategy(Knowing()).connection_is_reusable(1, KeyboardInterrupt())
    assert not adapt_strategy(Knowing()).connection_is_reusable(1, ValueError())
    assert adapt_strategy(Old()).connection_is_reusable(1, ValueError())
    assert not adapt_strategy(Old()).connection_is_reusable(1, asyncio.CancelledError())


async def test_whatever_else_a_strategy_has_is_used() -> None:
    """A connection that is not reset would go to the next borrower as the last one left it."""
    careful = Careful()
    pool = ConnectionPool(strategy=adapt_strategy(careful), max_size=1)
    async with pool, pool.get_connection():
        assert pool.attributes == {"server.address": "db.example"}
    assert careful.reset == [100]
    adapted = adapt_strategy(careful)
    assert adapted.check_after == 30.0
    with pytest.raises(ConnectionError):
        await adapted.check_connection(1)


@pytest.mark.parametrize(
    ("method", "named"),
    [
        ("make_connection", "create_connection or make_connection"),
        ("connection_is_closed", "connection_is_closed"),
        ("close_connection", "close_connection"),
    ],
)
def test_strategy_that_lacks_a_method_is_refused_by_its_name(method: str, named: str) -> None:
    """The message says what is missing, and from which class."""
    lacking: Any = type("Lacking", (), {name: value for name, value in vars(OldSync).items() if name != method})()
    with pytest.raises(TypeError, match=f"strategy must define {named}, which Lacking does not"):
        adapt_strategy(lacking)


@pytest.mark.parametrize("question", ["connection_is_closed", "connection_is_reusable"])
def test_question_that_is_async_is_refused(question: str) -> None:
    """The coroutine it returns would be true of every connection."""

    async def answer(self: Old, conn: int, *error: BaseException) -> bool:
        return False

    wrong = type("Async", (Old,), {question: answer})()
    with pytest.raises(TypeError, match=rf"Async\.{question} must be a plain function, not an async def"):
        adapt_strategy(wrong)


def test_class_in_place_of_an_instance_is_refused() -> None:
    """The commonest slip, which otherwise fails at the first connection."""
    cls: Any = Old
    with pytest.raises(TypeError, match="strategy must be an instance, got the class Old"):
        adapt_strategy(cls)


def test_connection_never_shows_in_the_repr() -> None:
    """A strategy may hold a DSN; its class is all that is told."""
    assert repr(adapt_strategy(Old())) == "<adapted Old>"
