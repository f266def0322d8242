"""Bad input is refused at the door, with the parameter and the value in the message."""

import asyncio
import math
from typing import Any

import pytest

from instrumented_pool import ConnectionPool, ConnectionStrategy, Event, Observer
from instrumented_pool.testing import FakeConnection, FakeStrategy
from support.fakes import CarefulStrategy, MakePool

SIZES = ["max_size", "burst_limit", "min_size", "max_waiting", "max_connecting"]
SECONDS = ["acquire_timeout", "max_lifetime", "idle_timeout", "close_timeout", "leak_after"]


def build(**options: Any) -> ConnectionPool[FakeConnection]:
    """A pool of good input, but for `options`."""
    arguments: dict[str, Any] = {"strategy": FakeStrategy(), "max_size": 2, **options}
    return ConnectionPool(**arguments)


@pytest.mark.parametrize("value", ["3", 2.0, True, object])
@pytest.mark.parametrize("parameter", SIZES)
def test_size_that_is_no_integer_is_refused(parameter: str, value: object) -> None:
    """A bool is none either."""
    with pytest.raises(TypeError) as caught:
        build(**{parameter: value})
    assert str(caught.value).startswith(f"{parameter} must be an integer")
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_size", 0),
        ("max_size", -1),
        ("burst_limit", 0),
        ("min_size", -1),
        ("max_waiting", -1),
        ("max_connecting", 0),
    ],
)
def test_size_out_of_range_is_refused(parameter: str, value: int) -> None:
    """With what it must be at least."""
    with pytest.raises(ValueError, match=rf"{parameter} must be at least \d, got {value}"):
        build(**{parameter: value})


def test_burst_limit_below_max_size_is_refused_in_the_old_words() -> None:
    """Callers of the ancestor may match them."""
    with pytest.raises(ValueError, match=r"^burst_limit must be greater than or equal to max_size") as caught:
        build(max_size=3, burst_limit=2)
    assert "burst_limit=2 and max_size=3" in str(caught.value)


def test_min_size_above_max_size_is_refused() -> None:
    """It could never be kept."""
    with pytest.raises(ValueError, match=r"min_size must be less .* got min_size=3 and max_size=2"):
        build(min_size=3)


def test_burst_limit_equal_to_max_size_is_accepted() -> None:
    """A pool that never bursts."""
    assert build(burst_limit=2).burst_limit == 2


@pytest.mark.parametrize("value", ["1", True, object])
@pytest.mark.parametrize("parameter", SECONDS)
def test_duration_that_is_no_number_is_refused(parameter: str, value: object) -> None:
    """A string from a configuration file, for instance."""
    with pytest.raises(TypeError) as caught:
        build(**{parameter: value})
    assert str(caught.value).startswith(f"{parameter} must be a number of seconds")
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, -math.inf])
@pytest.mark.parametrize("parameter", SECONDS)
def test_negative_duration_is_refused(parameter: str, value: float) -> None:
    """And what is no duration at all."""
    with pytest.raises(ValueError, match=rf"{parameter} must be .* 0 seconds, got {value!r}"):
        build(**{parameter: value})


@pytest.mark.parametrize("parameter", ["max_lifetime", "idle_timeout", "close_timeout", "leak_after"])
def test_duration_of_zero_is_refused_where_it_makes_no_sense(parameter: str) -> None:
    """A connection that lives for no time cannot be lent."""
    with pytest.raises(ValueError, match=f"{parameter} must be more than 0 seconds, got 0"):
        build(**{parameter: 0})


@pytest.mark.parametrize("parameter", ["acquire_timeout", "max_lifetime", "idle_timeout", "leak_after"])
def test_duration_may_be_none_where_there_need_be_no_limit(parameter: str) -> None:
    """And only there."""
    build(**{parameter: None})
    with pytest.raises(TypeError, match="close_timeout must be a number of seconds, got None"):
        build(close_timeout=None)


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan])
def test_negative_timeout_of_a_call_is_refused_at_the_call(timeout: float) -> None:
    """Before anything is entered, and without a loop."""
    with pytest.raises(ValueError, match="timeout must be at least 0 seconds"):
        build().get_connection(timeout=timeout)


async def test_negative_timeout_of_close_is_refused_and_nothing_closed(make_pool: MakePool) -> None:
    """The pool works on."""
    pool = make_pool()
    with pytest.raises(ValueError, match="timeout must be at least 0 seconds, got -1"):
        await pool.close(timeout=-1)
    async with pool.get_connection():
        pass


@pytest.mark.parametrize(("name", "kind"), [("", ValueError), (7, TypeError), (None, TypeError)])
def test_name_must_be_a_string_that_says_something(name: object, kind: type[Exception]) -> None:
    """It is what tells two pools apart."""
    with pytest.raises(kind, match=r"name must (not be empty|be a string)"):
        build(name=name)


def test_close_errors_must_be_one_of_two_words() -> None:
    """Both are in the message."""
    with pytest.raises(ValueError, match="close_errors must be one of 'raise', 'observe', got 'ignore'"):
        build(close_errors="ignore")


class NoStrategy:
    """Has a secret, and not the methods."""

    def __repr__(self) -> str:
        return FakeConnection.password


@pytest.mark.parametrize("value", [None, NoStrategy(), FakeStrategy, "redis://:hunter2@cache"])
def test_object_that_is_no_strategy_is_refused_without_being_printed(value: object) -> None:
    """By its class; it may hold a password. The message names the way for old strategies."""
    with pytest.raises(TypeError, match=r"strategy must be an instance .*adapt_strategy") as caught:
        build(strategy=value)
    assert FakeConnection.password not in str(caught.value)


@pytest.mark.parametrize("question", ["connection_is_closed", "connection_is_reusable"])
def test_question_that_is_async_is_refused(question: str) -> None:
    """Its coroutine would always mean True: every connection closed, or every one lent again."""

    async def answer(self: FakeStrategy, conn: FakeConnection, *error: BaseException) -> bool:
        return False

    with pytest.raises(TypeError, match=rf"Async\.{question} must be a plain function"):
        build(strategy=type("Async", (FakeStrategy,), {question: answer})())


def test_strategy_without_a_method_cannot_be_built() -> None:
    """The base class is abstract."""

    class Half(ConnectionStrategy[int]):
        async def create_connection(self) -> int:
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]  # the mistake


def test_check_after_without_a_check_is_refused() -> None:
    """Nobody would be asked."""
    strategy = FakeStrategy()
    strategy.check_after = 30.0
    with pytest.raises(TypeError, match=r"FakeStrategy has check_after=30\.0, but no check_connection"):
        build(strategy=strategy)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1.0, ValueError), ("30", TypeError)])
def test_check_after_must_be_seconds(value: Any, error: type[Exception]) -> None:
    """Some, or None."""
    with pytest.raises(error, match="check_after must be"):
        build(strategy=CarefulStrategy(check_after=value))


def test_attributes_with_credentials_are_refused() -> None:
    """They would be on every metric; the message does not repeat them."""

    class Telling(FakeStrategy):
        @property
        def attributes(self) -> dict[str, str]:
            return {"dsn": f"db://me:{FakeConnection.password}@host"}

    with pytest.raises(ValueError, match="holds credentials") as caught:
        build(strategy=Telling())
    assert FakeConnection.password not in str(caught.value)


@pytest.mark.parametrize("value", [None, 7, Observer()])
def test_observers_must_be_a_list(value: object) -> None:
    """One observer alone is a frequent slip."""
    with pytest.raises(TypeError, match="observers must be a list of Observer instances"):
        build(observers=value)


def test_object_that_is_no_observer_is_refused() -> None:
    """In the constructor and in `add_observer`."""
    with pytest.raises(TypeError, match="observers must be instances of Observer"):
        build(observers=[object()])
    with pytest.raises(TypeError, match="observers must be instances of Observer"):
        build().add_observer(object())  # type: ignore[arg-type]  # the mistake


def test_class_in_place_of_an_observer_is_refused() -> None:
    """It was meant to be called."""
    with pytest.raises(TypeError, match="observers must be instances of Observer"):
        build(observers=[Observer])


def test_misspelt_hook_is_refused_with_the_right_spelling() -> None:
    """Or it would never be called, and nobody would know."""

    class Misspelt(Observer):
        def on_aquired(self, event: Event) -> None: ...

    with pytest.raises(TypeError, match=r"Misspelt\.on_aquired is not a hook of Observer; did you mean on_acquired\?"):
        build(observers=[Misspelt()])


def test_hook_like_no_other_is_refused_with_the_list_of_hooks() -> None:
    """There is nothing to suggest."""

    class Strange(Observer):
        def on_xyzzy(self, event: Event) -> None: ...

    with pytest.raises(TypeError, match=r"the hooks are on_pool_opened, .*on_observer_failed and on_event"):
        build(observers=[Strange()])


def test_async_hook_is_refused() -> None:
    """The pool calls hooks without awaiting."""

    class Async(Observer):
        async def on_acquired(self, event: Event) -> None: ...  # type: ignore[override]  # the mistake

    with pytest.raises(TypeError, match=r"Async\.on_acquired must be a plain function"):
        build(observers=[Async()])


def test_observer_that_refuses_a_pool_is_heard() -> None:
    """What `attached` raises comes out of the constructor, which warns of nothing on top."""

    class Picky(Observer):
        def attached(self, pool: ConnectionPool[Any]) -> None:
            raise LookupError("no such service")

    with pytest.raises(LookupError, match="no such service"):
        build(observers=[Picky()])


def test_refused_observer_leaves_the_pool_as_it_was() -> None:
    """Nothing of it is registered."""
    pool = build()

    class Misspelt(Observer):
        def on_release(self, event: Event) -> None: ...

    with pytest.raises(TypeError, match="did you mean on_released"):
        pool.add_observer(Misspelt())
    assert pool._bus.observers == ()


@pytest.mark.parametrize("value", [0, -1, "2", 1.5, None])
async def test_bad_limit_is_refused_by_its_setter(make_pool: MakePool, value: Any) -> None:
    """And the limit stays."""
    pool = make_pool(max_size=2)
    with pytest.raises((TypeError, ValueError), match="max_size must be"):
        pool.max_size = value
    assert pool.max_size == 2
    await asyncio.sleep(0)


def test_arguments_are_keywords_only() -> None:
    """Nobody has to count them."""
    with pytest.raises(TypeError, match="positional"):
        ConnectionPool(FakeStrategy(), 1)  # type: ignore[call-arg]  # the mistake
