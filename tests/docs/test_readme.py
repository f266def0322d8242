"""The README does what it says."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from instrumented_pool._servers import Valkey
from support.pages import DOCS, ROOT, as_on_the_page, block

README = ROOT / "README.md"
URL = "redis://localhost:6379"


def told(output: str) -> list[str]:
    """What an output says, without what differs from run to run and what the README cuts off."""
    for what, instead in (
        (r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", ""),
        (r'error="[^"]*"', "error=…"),
        (r"\d+\.\d+", "0.0"),
        (r"held connection \d", "held connection N"),
        (r"tasks\.py:\d+|locks\.py:\d+", "asyncio.py"),
    ):
        output = re.sub(what, instead, output)
    return output.splitlines()


def test_readme_is_short() -> None:
    """Read whole in a few minutes."""
    assert len(README.read_text().splitlines()) <= 120


def test_readme_shows_the_quick_start_as_it_is() -> None:
    """The example in the README is the file that is run here."""
    assert block(README, "python", "import asyncio") == (ROOT / "examples" / "quickstart.py").read_text()


async def test_readme_shows_what_the_quick_start_prints(tmp_path: Path, server: Valkey) -> None:
    """Beside a real server, apart from times, the numbers of connections and the lines of the standard library."""
    source = (ROOT / "examples" / "quickstart.py").read_text()
    assert URL in source
    script = tmp_path / "examples" / "quickstart.py"
    script.parent.mkdir()
    script.write_text(source.replace(URL, f"redis://{server.host}:{server.port}"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    printed = as_on_the_page(output.decode(), server)
    assert told(printed) == told(block(README, "", "20 orders"))


@pytest.mark.parametrize("page", [README, *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Every relative link of the documentation."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
