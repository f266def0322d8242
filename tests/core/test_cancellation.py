"""Cancelled at every single step of the loop, a caller loses nothing: no slot, no connection, nobody else's turn."""

import pytest

from support.scenarios import SCENARIOS
from support.sweep import cancel_everywhere


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "bare"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_cancelling_at_any_step_leaves_the_pool_whole(name: str, observed: bool) -> None:
    """Between any two steps every slot has one owner, and after `close()` every connection was closed once."""
    assert cancel_everywhere(SCENARIOS[name], observed=observed) > 2


@pytest.mark.parametrize("name", SCENARIOS)
def test_cancelling_again_and_again_leaves_the_pool_whole(name: str) -> None:
    """Also while it is on its way out already, as an impatient shutdown does."""
    assert cancel_everywhere(SCENARIOS[name], repeatedly=True) > 2
