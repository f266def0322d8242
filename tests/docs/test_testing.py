"""The page on testing: its tests pass, but for the one that is there to fail, and that says what the page shows."""

import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from instrumented_pool.testing import SweepError
from support.pages import DOCS, blocks

PAGE = DOCS / "testing.md"
FINDS_THE_BUG = "test_payment_may_be_cancelled_anywhere"


@pytest.fixture
def page() -> Iterator[ModuleType]:
    """The code of the page as one module, whose lines are those of a file of its own."""
    module = ModuleType("till")
    sys.modules["till"] = module
    exec(compile("\n\n".join(blocks(PAGE, "python")), "tests/till.py", "exec"), vars(module))
    yield module
    del sys.modules["till"]


def names_of_tests() -> list[str]:
    return re.findall(r"^(?:async )?def (test_\w+)", "\n".join(blocks(PAGE, "python")), flags=re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in names_of_tests() if name != FINDS_THE_BUG])
def test_tests_on_the_page_pass(page: ModuleType, name: str) -> None:
    """Each as a test runner would call it."""
    result = vars(page)[name]()
    if inspect.iscoroutine(result):
        asyncio.run(result)


def test_sweep_finds_the_bug_on_the_page_and_says_what_the_page_shows(page: ModuleType) -> None:
    """Apart from the numbers of lines, and from where they are wrapped."""
    with pytest.raises(SweepError) as caught:
        vars(page)[FINDS_THE_BUG]()
    first = "\n".join(str(caught.value).splitlines()[:2])
    (shown,) = blocks(PAGE, "")
    assert unnumbered(first) == unnumbered(shown)


def unnumbered(text: str) -> str:
    return " ".join(re.sub(r":\d+\)", ":…)", text).split())
