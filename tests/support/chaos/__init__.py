"""Faults of real servers × strategies: each while many callers work, and what must be so afterwards."""

from collections.abc import Iterable

from .faults import FAULTS, Fault
from .subjects import SUBJECTS, Subject
from .trials import Outcome, Stage, stage_of, trial

__all__ = ["FAULTS", "SUBJECTS", "Fault", "Outcome", "Stage", "Subject", "chosen", "stage_of", "trial"]


def chosen(words: Iterable[str]) -> dict[Subject, list[Fault]]:
    """The faults to try on each strategy: those that the words name, strategies by their names, faults by pieces.

    Raises:
        ValueError: nothing is called so.
    """
    wanted = set(words)
    names = wanted & {subject.name for subject in SUBJECTS}
    pieces = wanted - names
    if unknown := [piece for piece in pieces if not any(piece in fault.title for fault in FAULTS)]:
        raise ValueError(f"no strategy is called {unknown[0]!r}, and no fault has that in its name")
    faults = [fault for fault in FAULTS if not pieces or any(piece in fault.title for piece in pieces)]
    return {subject: faults for subject in SUBJECTS if not names or subject.name in names}
