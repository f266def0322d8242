"""The story as plain lines, for logs and for terminals that can do no more."""

from collections.abc import Callable

from ._feed import Line, Programme, Result, ms
from ._story import Act


class PlainView:
    """Prints every second what the pool is doing, and what happened to it since."""

    INTERVAL = 1.0  # seconds

    def __init__(self, programme: Programme, write: Callable[[str], None]) -> None:
        self._programme, self._write = programme, write
        write(programme.heading)

    def begin(self, act: Act) -> None:
        number = self._programme.acts.index(act) + 1
        self._write(f"\n{number}/{len(self._programme.acts)} {act.title}. {act.caption}")

    def end(self, result: Result) -> None:
        self.tick()
        for claim in result.claims:
            self._write(f"  {'✓' if claim.holds else '✗'} {claim.text}")

    def tick(self) -> None:
        for line in self._programme.feed.fresh():
            self._write(f"  {line.at:5.1f} s  {times(line)} {line.text}")
        stats = self._programme.samples.now
        self._write(
            f"  {self._programme.seconds:5.1f} s       in use {stats.in_use:2}  idle {stats.idle:2}  "
            f"connecting {stats.creating:2}  closing {stats.closing:2}  waiting {stats.waiting:2}  "
            f"wait p95 {ms(self._programme.samples.wait().p95)}"
        )

    def close(self) -> None:
        """Nothing to restore."""


def times(line: Line) -> str:
    """How often it happened, in a column of its own."""
    return f"{f'×{line.count}' if line.count > 1 else '':>4}"
