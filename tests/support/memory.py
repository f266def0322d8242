"""Whether memory is given back."""

import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

Ledger: TypeAlias = Mapping[str, Mapping[str, int | str]]
"""Figures by their names, under headings."""


class Memory:
    """What this process has in use, after each round of something that should leave nothing behind.

    Args:
        warm_up: rounds at the beginning that may leave something: what is made once, and kept.

    Attributes:
        blocks: of memory that Python has allocated, after each round.
        resident: MiB that the process occupies, where the system says so.
    """

    def __init__(self, warm_up: int) -> None:
        self._warm_up = warm_up
        self.blocks: list[int] = []
        self.resident: list[float] = []

    def weigh(self) -> None:
        """Look, at the end of a round."""
        gc.collect()
        self.blocks.append(sys.getallocatedblocks())
        self.resident.append(_resident())

    @property
    def drift(self) -> int:
        """Blocks by which it has grown since the warm-up."""
        return self.blocks[-1] - min(self.blocks[self._warm_up - 1 : max(self._warm_up, len(self.blocks) // 2)])

    def ledger(self) -> Mapping[str, int | str]:
        """All of that by its name."""
        before = self._warm_up - 1
        return {
            "blocks after the warm-up": self.blocks[before],
            "blocks at the end": self.blocks[-1],
            "drift in blocks": self.drift,
            "resident MiB, warm-up to end": f"{self.resident[before]:.1f} to {self.resident[-1]:.1f}",
        }


def _resident() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * 4096 / 2**20
