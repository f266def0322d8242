"""Whatever a strategy or an observer raises, at whichever of its calls, the pool stays whole."""

import asyncio

import pytest

from support.scenarios import SCENARIOS
from support.sweep import HookError, fail_everywhere


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "bare"])
@pytest.mark.parametrize("kind", [ConnectionError, asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("name", SCENARIOS)
def test_strategy_failing_at_any_call_leaves_the_pool_whole(
    name: str, kind: type[BaseException], observed: bool
) -> None:
    """An exception costs the connection it was about, and no other; its slot is free again."""
    assert fail_everywhere(SCENARIOS[name], "strategy", kind, observed=observed) > 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_observer_failing_at_any_event_leaves_the_pool_whole(name: str) -> None:
    """G4: an exception of a hook reaches neither the caller nor the pool."""
    assert fail_everywhere(SCENARIOS[name], "observer", HookError) > 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_interrupt_in_any_hook_propagates_and_leaves_the_pool_whole(name: str) -> None:
    """G4: KeyboardInterrupt is never swallowed, and is raised when the state is whole."""
    assert fail_everywhere(SCENARIOS[name], "observer", KeyboardInterrupt) > 0
