"""Whatever a strategy or an observer raises, at whichever of its calls, the pool stays whole."""

import asyncio
from collections.abc import Callable
from itertools import count

import pytest

from support.scenarios import SCENARIOS
from support.sweep import Scene, fail_strategy, run

METHODS = ["create_connection", "connection_is_closed", "close_connection"]


class Broken(Exception):
    """What a driver may raise."""


def fail_observer(event: int, error: BaseException) -> Callable[[Scene], None]:
    """Let the hook raise `error` at the `event`-th event from now on."""

    def prepare(scene: Scene) -> None:
        scene.recorder.raises[len(scene.recorder.events) + event] = error

    return prepare


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "bare"])
@pytest.mark.parametrize("kind", [Broken, asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_strategy_failing_at_any_call_leaves_the_pool_whole(
    name: str, method: str, kind: type[BaseException], observed: bool
) -> None:
    """An exception costs the connection it was about, and no other; its slot is free again."""
    for call in count(1):
        made: list[Scene] = []
        fail = fail_strategy(method, call, kind("of the strategy"))

        def prepare(scene: Scene, fail: Callable[[Scene], None] = fail, made: list[Scene] = made) -> None:
            made.append(scene)
            fail(scene)

        run(SCENARIOS[name], prepare=prepare, observed=observed)
        if made[0].strategy.calls[method] < max(number for _, number in made[0].strategy.faults):
            break


@pytest.mark.parametrize("name", SCENARIOS)
def test_observer_failing_at_any_event_leaves_the_pool_whole(name: str) -> None:
    """G4: an exception of a hook reaches neither the caller nor the pool."""
    for event in count(1):
        made: list[Scene] = []
        fail = fail_observer(event, Broken("of an observer"))

        def prepare(scene: Scene, fail: Callable[[Scene], None] = fail, made: list[Scene] = made) -> None:
            made.append(scene)
            fail(scene)

        escaped = run(SCENARIOS[name], prepare=prepare)
        assert not escaped
        if len(made[0].recorder.events) < max(made[0].recorder.raises):
            break


@pytest.mark.parametrize("name", SCENARIOS)
def test_interrupt_in_any_hook_propagates_and_leaves_the_pool_whole(name: str) -> None:
    """G4: KeyboardInterrupt is never swallowed, and is raised when the state is whole."""
    for event in count(1):
        made: list[Scene] = []
        interrupt = KeyboardInterrupt("of an observer")
        fail = fail_observer(event, interrupt)

        def prepare(scene: Scene, fail: Callable[[Scene], None] = fail, made: list[Scene] = made) -> None:
            made.append(scene)
            fail(scene)

        escaped = run(SCENARIOS[name], prepare=prepare)
        if len(made[0].recorder.events) < max(made[0].recorder.raises):
            break
        assert interrupt in escaped
