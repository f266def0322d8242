"""The pages on benchmarks show the figures that are committed beside them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"


@pytest.mark.parametrize("module", ["benchmarks.report", "benchmarks.servers.report"])
def test_every_table_is_made_from_the_figures(module: str) -> None:
    """`make bench ARGS=--redraw`, or `make bench-servers`, would change nothing."""
    command = [sys.executable, "-m", module, "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["benchmarks", "side-by-side"])
def test_every_plot_that_is_drawn_is_shown(name: str) -> None:
    """And every one that is shown is drawn."""
    page = ROOT / "docs" / f"{name}.md"
    shown: list[str] = re.findall(rf"!\[.+\]\(({name}/\w+\.svg)\)", page.read_text())
    assert sorted(shown) == sorted(f"{name}/{plot.name}" for plot in page.parent.glob(f"{name}/*.svg"))
    assert shown


def test_budgets_are_met_where_the_page_says_so() -> None:
    """And nowhere else."""
    cells = re.findall(r"^\| [^|]+ \| +≤ ([\d.]+) \S+ (\|.+\|)$", PAGE.read_text(), re.MULTILINE)
    verdicts = [
        (float(figure) <= float(limit), verdict)
        for limit, row in cells
        for figure, verdict in re.findall(r"([\d.]+) \S+ (met|\*\*NOT met\*\*) \|", row)
    ]
    assert len(verdicts) >= 10
    assert all(within == (verdict == "met") for within, verdict in verdicts)
