"""Pools in structlog: one line an event."""

from ._observer import Logger, StructlogObserver

__all__ = ["Logger", "StructlogObserver"]
