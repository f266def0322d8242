"""`instrumented-pool dashboards` lays out what is shipped, and destroys nobody's work."""

from pathlib import Path

import pytest

from instrumented_pool.__main__ import main
from support.boards import GRAFANA


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_lays_out_all_that_is_shipped_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a directory that it makes; each file that it wrote is a line."""
    out = tmp_path / "made" / "here"
    assert main(["dashboards", "--out", str(out)]) == 0
    laid_out = contents(out)
    assert laid_out.keys() >= {"dashboards/pool-fleet.json", "dashboards/pool-detail.json"}
    assert laid_out == {
        f"{folder}/{path.name}": path.read_bytes()
        for folder in ("dashboards", "rules")
        for path in (GRAFANA / folder).glob("*")
    }
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(str(out / path) for path in laid_out)


def test_laying_out_again_is_no_error(tmp_path: Path) -> None:
    """What says the same may be written over; what else is there is left alone."""
    mine = tmp_path / "dashboards" / "mine.json"
    assert main(["dashboards", "--out", str(tmp_path)]) == 0
    mine.write_text("{}")
    assert main(["dashboards", "--out", str(tmp_path)]) == 0
    assert mine.read_text() == "{}"


def test_an_edited_file_is_written_over_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it nothing is written at all, and a line says which file is in the way."""
    edited = tmp_path / "dashboards" / "pool-fleet.json"
    edited.parent.mkdir()
    edited.write_text("edited")
    assert main(["dashboards", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert (str(edited) in said, "--force" in said, said.count("\n")) == (True, True, 1)
    assert contents(tmp_path) == {"dashboards/pool-fleet.json": b"edited"}
    assert main(["dashboards", "--out", str(tmp_path), "--force"]) == 0
    assert edited.read_bytes() == (GRAFANA / "dashboards" / "pool-fleet.json").read_bytes()


def test_a_directory_that_cannot_be_made_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback."""
    (tmp_path / "file").touch()
    assert main(["dashboards", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"instrumented-pool: cannot write to {tmp_path / 'file'}")
