"""The page on benchmarks shows the figures that are committed beside it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"


def test_every_table_is_made_from_the_figures() -> None:
    """`make bench ARGS=--redraw` would change nothing."""
    command = [sys.executable, "-m", "benchmarks.report", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_plot_that_is_drawn_is_shown() -> None:
    """And every one that is shown is drawn."""
    shown: list[str] = re.findall(r"!\[.+\]\((benchmarks/\w+\.svg)\)", PAGE.read_text())
    assert sorted(shown) == sorted(f"benchmarks/{plot.name}" for plot in PAGE.parent.glob("benchmarks/*.svg"))
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
