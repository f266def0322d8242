"""The story as plain lines, for logs and for terminals that can do no more."""

from collections.abc import Callable

from ._feed import Line, Programme, Result, ms
from ._story import Act


class PlainView:
    """Prints every second what the pool is doing, and what happened to it since."""

    INTERVAL = 1.0  # seconds

    def __init__(self, programme: Programme, write: Callable[[str], None]) -> None:
        self._programme, self._write = programme, write
        self._told: set[int] = set()

    def begin(self, act: Act) -> None:
        number = self._programme.acts.index(act) + 1
        self._write(f"\n{number}/{len(self._programme.acts)} {act.title}. {act.caption}")

    def end(self, result: Result) -> None:
        self.tick()
        for claim in result.claims:
            self._write(f"  {'✓' if claim.holds else '✗'} {claim.text}")

    def tick(self) -> None:
        for line in self._programme.feed.lines:
            if id(line) not in self._told:
                self._told.add(id(line))
                self._write(f"  {line.at:5.1f} s  {text_of(line)}")
        stats, wait = self._programme.samples.now, self._programme.samples.wait()
        self._write(
            f"  {self._programme.seconds:5.1f} s  in use {stats.in_use:2}  idle {stats.idle:2}  "
            f"connecting {stats.creating:2}  closing {stats.closing:2}  waiting {stats.waiting:2}  wait p95 {ms(wait.p95)}"
        )

    def close(self) -> None:
        """Nothing to restore."""


def text_of(line: Line) -> str:
    """The line's text, and how often."""
    return f"{line.text}  ×{line.count}" if line.count > 1 else line.text
