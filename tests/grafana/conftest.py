"""What the tests of rules, alerts and runbooks share."""

import pytest

from support.faults import Fault
from support.matrix import Seen, see_all
from support.prometheus import promtool


@pytest.fixture(scope="session")
def seen() -> dict[Fault, Seen]:
    """An hour of every fault. Half a minute, so only once."""
    promtool("--version")  # without it, skip before the work
    return see_all()
