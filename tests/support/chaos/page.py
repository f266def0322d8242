"""The page that shows the matrix."""

from collections.abc import Iterable, Sequence

from ..pages import DOCS, table_in, write_section
from .faults import FAULTS
from .trials import Outcome

PAGE = DOCS / "chaos.md"


def table(outcomes: Iterable[Outcome]) -> str:
    """The matrix in Markdown: a row for each fault, a column for each strategy, in each cell the worst of the runs."""
    cells: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in outcomes:
        cells.setdefault(outcome.fault, {}).setdefault(outcome.subject, []).append(outcome)
    names = list(dict.fromkeys(name for row in cells.values() for name in row))
    rows = [["fault", *names], ["---", *(":-:" for _ in names)]]
    rows += [[fault, *(_cell(row.get(name, [])) for name in names)] for fault, row in cells.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(runs: Sequence[Outcome]) -> str:
    if not runs:
        return ""
    failed = sum(each.failed for each in runs) / sum(each.asked for each in runs)
    return f"{max(each.whole for each in runs):.2f} s, {failed:.0%}"


def list_of_faults() -> str:
    """What happens in each."""
    return "".join(f"- **{fault.title}**: {fault.what}\n" for fault in FAULTS)


def published() -> dict[tuple[str, str], float]:
    """The seconds that the page states, by fault and strategy."""
    (_, *names), *rows = table_in(PAGE, "matrix")
    return {
        (fault, name): float(cell.partition(" s")[0])
        for fault, *cells in rows
        for name, cell in zip(names, cells, strict=True)
    }


def write(outcomes: Iterable[Outcome]) -> None:
    """Put the matrix and the list of faults on the page."""
    write_section(PAGE, "matrix", table(outcomes))
    write_section(PAGE, "faults", list_of_faults())
