"""The rules that are shipped, read."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .pages import DOCS, ROOT

RULES = tuple(ROOT / "grafana" / "rules" / name for name in ("recording.yaml", "alerts.yaml"))
PREFIX = "InstrumentedPool"  # of every alert
RUNBOOKS = DOCS / "runbooks"

_GROUPS: list[dict[str, Any]] = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
_ALL: list[dict[str, Any]] = [rule for group in _GROUPS for rule in group["rules"]]

GROUPS = [str(group["name"]) for group in _GROUPS]
ALERTS: Mapping[str, Mapping[str, Any]] = {rule["alert"]: rule for rule in _ALL if "alert" in rule}
RECORDS: Mapping[str, str] = {rule["record"]: rule["expr"] for rule in _ALL if "record" in rule}


def queries_of(page: Path) -> list[str]:
    """The queries that a page gives, in order; most stand within a numbered question."""
    found: list[str] = re.findall(r"^ *```promql\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [" ".join(query.split()) for query in found]
