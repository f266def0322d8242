"""The page on an exporter of one's own: its code is run, and says what the page shows."""

from types import ModuleType

import pytest

from instrumented_pool import _pool
from support.pages import DOCS, blocks
from support.virtual import CLOCK, VirtualLoop

PAGE = DOCS / "exporters" / "your-own.md"


def test_observer_is_written_in_twenty_lines() -> None:
    """Not counting the empty ones."""
    observer = blocks(PAGE, "python")[0]
    assert len([line for line in observer.splitlines() if line.strip()]) <= 20


def test_code_on_the_page_prints_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On virtual time: half a second is half a second."""
    monkeypatch.setattr(_pool, "monotonic", CLOCK.now)
    page, loop = ModuleType("page"), VirtualLoop()
    exec(compile("\n\n".join(blocks(PAGE, "python")), PAGE.name, "exec"), vars(page))
    loop.run_until_complete(page.main())
    loop.close()
    assert [capsys.readouterr().out] == blocks(PAGE, "")
