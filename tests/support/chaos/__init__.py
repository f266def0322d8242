"""Faults of real servers × strategies: each while many callers work, and what must be so afterwards."""

from .faults import FAULTS, Fault
from .subjects import SUBJECTS, Subject
from .trial import Outcome, Stage, stage_of, trial

__all__ = ["FAULTS", "SUBJECTS", "Fault", "Outcome", "Stage", "Subject", "stage_of", "trial"]
