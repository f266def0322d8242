"""The committed dashboards as tests look at them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from support.pages import ROOT

Json: TypeAlias = dict[str, Any]

GRAFANA = ROOT / "grafana"
DASHBOARDS = GRAFANA / "dashboards"
NAMES = ("pool-fleet", "pool-detail")


def load(name: str) -> Json:
    """A dashboard."""
    board: Json = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return board


def panels(board: Json) -> list[Json]:
    """What draws something: not the rows that group it."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: Json) -> Iterator[tuple[str, str]]:
    """Every expression, and where it is."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in board["annotations"].get("list", ()):
        yield f"Shaded: {annotation['name'].lower()} A", annotation["target"]["expr"]


def variables(board: Json) -> dict[str, Json]:
    """The variables, by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def filled(expr: str, interval: str = "1m", **chosen: str) -> str:
    """An expression with its variables replaced, as Grafana does before it asks; all that is not chosen is all."""
    values: Mapping[str, str] = {"job": ".+", "instance": ".+", "pool": ".+", "__rate_interval": interval, **chosen}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)
