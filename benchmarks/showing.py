"""How figures are shown, whichever benchmark they are of: tables in a page, and plots beside the figures."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from .report import filled
from .results import save

R = TypeVar("R")


@dataclass(frozen=True)
class Benchmark(Generic[R]):
    """One of the project's benchmarks.

    Attributes:
        command: what measures it again, and redraws with ARGS=--redraw.
        results: the file of its figures, which its plots lie beside.
        page: shows its tables.
        tables: what each table of the page says, by its name there.
        load: reads the figures.
        drawn: every plot as SVG, by the name of its file.
    """

    command: str
    results: Path
    page: Path
    tables: Mapping[str, Callable[[R], str]]
    load: Callable[[], R]
    drawn: Callable[[R], dict[str, str]]

    def parser(self, description: str | None) -> argparse.ArgumentParser:
        """Of the options that each benchmark has."""
        parser = argparse.ArgumentParser(prog=self.command, description=description)
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--quick", action="store_true", help="only see that everything runs, and write nothing")
        mode.add_argument("--redraw", action="store_true", help="measure nothing: show the figures that are there anew")
        return parser

    def run(self, options: argparse.Namespace, measure: Callable[[list[str]], R]) -> None:
        """Do what the options say; `measure` is given those of its own."""
        if options.quick:
            self._try_out(measure(["--quick"]))
            return
        if not options.redraw:
            save(measure([]), self.results)
        self._redraw()

    def _try_out(self, results: R) -> None:
        """Whatever reads the figures has to understand those of a hurry, and the plots to be those of the figures."""
        self.drawn(results)
        filled(self.page, self.tables, results)
        stale = [name for name, svg in self.drawn(self.load()).items() if self._plot(name).read_text() != svg]
        if stale:
            sys.exit(
                f"the plots {', '.join(stale)} are not drawn from {self.results.name}: run {self.command} ARGS=--redraw"
            )

    def _redraw(self) -> None:
        """Write what shows the figures, and show them here."""
        results = self.load()
        for name, svg in self.drawn(results).items():
            self._plot(name).write_text(svg)
        self.page.write_text(filled(self.page, self.tables, results))
        for name, table in self.tables.items():
            print(f"\n{name}\n\n{table(results)}")

    def _plot(self, name: str) -> Path:
        return self.results.parent / f"{name}.svg"
