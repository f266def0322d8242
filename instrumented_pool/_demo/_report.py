"""What is left on the terminal when the story is over."""

from rich.console import Console
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
    warnings: list[str],
    onward: list[str],
) -> None:
    """Print it all."""
    _heading(console, "What happened")
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
        console.print(Text(f"PoolTimeoutError: {timeout}"), soft_wrap=False)
    if warnings:
        _heading(console, "Logged meanwhile")
        for warning in warnings:
            console.print(Text(warning))
    _heading(console, "Where to go next")
    for line in onward:
        console.print(Text(line))
    _verdict(console, [claim for result in programme.results for claim in result.claims] + reckoning)


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
    table = Table(box=None, padding=(0, 1), header_style="grey62")
    table.add_column("act", no_wrap=True)
    for name in ("seconds", "acquires", "idle", "new", "handed on", "failed", "wait p50", "p95", "made", "closed"):
        table.add_column(name, justify="right")
    for result in results:
        before, after, waits = result.before, result.after, result.waits
        sources = [after.acquired[source] - before.acquired[source] for source in ("idle", "new", "handoff")]
        failed = sum(after.failed.values()) - sum(before.failed.values())
        closed = sum(after.closed.values()) - sum(before.closed.values())
        table.add_row(
            result.act.title,
            f"{result.seconds:.1f}",
            *(f"{number:,}" for number in (after.acquires - before.acquires, *sources, failed)),
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
