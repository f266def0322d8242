"""The ids of the trace that is current, asked of the application by exporters that know no tracing library."""

import inspect
from collections.abc import Callable, Mapping
from typing import TypeAlias

__all__ = ["TraceIds", "check_trace_ids", "current_ids"]

TraceIds: TypeAlias = Callable[[], Mapping[str, str] | None]
"""Returns such as `{"trace_id": "…", "span_id": "…"}` of the context that it is called in, or None without a span."""


def check_trace_ids(trace_ids: object) -> None:
    """Refuse what cannot be asked.

    Raises:
        TypeError: it is neither None nor a plain function.
    """
    if trace_ids is not None and (not callable(trace_ids) or inspect.iscoroutinefunction(trace_ids)):
        raise TypeError(
            "trace_ids must be a plain function without arguments that returns a mapping of str to str, or None; "
            f"got {'an async def' if callable(trace_ids) else type(trace_ids).__name__}"
        )


def current_ids(trace_ids: TraceIds) -> dict[str, str]:
    """Return what `trace_ids` says of the current context, empty where it says None.

    Raises:
        TypeError: it returns anything else than a mapping of str to str.
        Exception: what it raises.
    """
    ids: object = trace_ids()
    if ids is None:
        return {}
    if not isinstance(ids, Mapping):
        raise TypeError(f"trace_ids must return a mapping of str to str, or None, got {type(ids).__name__}")
    for key, value in ids.items():
        if not isinstance(key, str) or not isinstance(value, str):
            kinds = f"{type(key).__name__} to {type(value).__name__}"
            raise TypeError(f"trace_ids must return a mapping of str to str, got one of {kinds}")
    return dict(ids)
