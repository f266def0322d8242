"""The page of the names says what a scrape shows."""

import re
from pathlib import Path

from instrumented_pool.metrics import COUNTS
from instrumented_pool_prometheus import PoolCollector

PAGE = Path(__file__).parents[3] / "docs" / "exporters" / "prometheus.md"


def test_the_page_lists_every_family() -> None:
    """Name, type, labels and meaning, in the order of a scrape."""
    labels = {count.description: [label.replace(".", "_") for label in count.labels] for count in COUNTS}
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} |"
        f" {', '.join(f'`{label}`' for label in labels.get(family.documentation, []))} | {family.documentation} |"
        for family in PoolCollector().describe()
    ]
    assert re.findall(r"^\| `.*\|$", PAGE.read_text(), re.MULTILINE) == rows
