"""Writes the dashboards' JSON into a directory."""

import sys
from pathlib import Path

from ._boards import as_json
from ._detail import detail
from ._fleet import fleet

BOARDS = {"pool-fleet.json": fleet, "pool-detail.json": detail}


def write(directory: Path) -> None:
    """Write every dashboard anew."""
    for name, build in BOARDS.items():
        (directory / name).write_text(as_json(build()), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
