"""What is left on the terminal when the story is over."""

from collections import Counter

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import PoolTimeoutError
from ._feed import Programme, Result, ms
from ._stage import Claim
from ._waterfall import Waterfall


def report(
    console: Console,
    programme: Programme,
    reckoning: list[Claim],
    waterfall: Waterfall | None,
    timeout: PoolTimeoutError | None,
    logged: Counter[str],
    onward: list[str],
) -> None:
    """Print it all."""
    _heading(console, f"What happened in {programme.seconds:.0f} s: {programme.heading}")
    for number, result in enumerate(programme.results, 1):
        console.print(Text(f"{number}  {result.act.title}", "bold"))
        _claims(console, result.claims)
    console.print(Text("   When the pool was closed", "bold"))
    _claims(console, reckoning)
    _heading(console, "In numbers")
    console.print(_numbers(programme.results))
    if waterfall is not None:
        _heading(console, f"The slowest acquire, from its spans · trace {waterfall.trace_id}")
        _draw(console, waterfall)
    if timeout is not None:
        _heading(console, "What a caller was told who waited in vain (the last of them)")
        for line in f"PoolTimeoutError: {timeout}".splitlines():
            words = line.lstrip()
            console.print(Padding(Text(words), (0, 0, 0, len(line) - len(words))))
    if logged:
        _heading(console, "Logged meanwhile")
        for line, count in logged.items():
            console.print(Text(f"{line}  ×{count}" if count > 1 else line))
    _heading(console, "Where to go next")
    for line in onward:
        console.print(Text(line))
    _verdict(console, programme.claims + reckoning)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.rule(Text(text, "bold"), align="left", style="grey42")


def _claims(console: Console, claims: list[Claim]) -> None:
    for claim in claims:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=4, justify="right", style="green3" if claim.holds else "bold red1")
        table.add_column(overflow="fold")
        table.add_row("✓" if claim.holds else "✗", Text(claim.text))
        console.print(table)


def _numbers(results: list[Result]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="grey62")
    for name in ("acquires", "from idle", "new", "handoff", "failed", "wait p50", "p95", "made", "closed"):
        table.add_column(name, justify="left" if name == "acquires" else "right", no_wrap=True)
    for result in results:
        before, after, waits = result.before, result.after, result.waits
        sources = [after.acquired[source] - before.acquired[source] for source in ("idle", "new", "handoff")]
        failed = sum(after.failed.values()) - sum(before.failed.values())
        closed = sum(after.closed.values()) - sum(before.closed.values())
        table.add_row(
            result.act.title,
            *(f"{number:,}" for number in (*sources, failed)),
            ms(waits.quantile(0.5)),
            ms(waits.quantile(0.95)),
            *(f"{number:,}" for number in (after.created - before.created, closed)),
        )
    return table


def _draw(console: Console, waterfall: Waterfall) -> None:
    names = max(len(row.name) + 2 * row.depth for row in waterfall.rows) + 2
    room = max(10, console.width - names - 12)
    for row in waterfall.rows:
        start = min(room - 1, round(row.start / waterfall.seconds * room))
        length = max(1, min(room - start, round(row.duration / waterfall.seconds * room)))
        style = "dodger_blue1" if row.name.startswith("pool.") else "grey62"
        line = Text(f"{'  ' * row.depth}{row.name}".ljust(names), "bold" if row.name.startswith("pool.") else "")
        line.append(" " * start + "█" * length + " " * (room - start - length), style)
        console.print(line.append(f"{ms(row.duration):>11}", "not bold"), no_wrap=True)


def _verdict(console: Console, claims: list[Claim]) -> None:
    false = sum(not claim.holds for claim in claims)
    console.print()
    if false:
        console.print(Text(f"✗ {false} of {len(claims)} claims did not hold", "bold red1"))
    else:
        console.print(Text(f"✓ all {len(claims)} claims held", "bold green3"))
