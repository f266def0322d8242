"""The command that lays out what is shipped for Grafana and Prometheus."""

from pathlib import Path

FOLDERS = ("dashboards", "rules")


class CannotWrite(Exception):
    """It cannot be done as asked. The text is for the user."""


def shipped() -> dict[str, bytes]:
    """What is shipped: the content of each file, by its path from the folder that it is laid out in.

    A wheel has it in this package; an editable install has it where it is in the tree.
    """
    inside = Path(__file__).with_name("_grafana")
    source = inside if inside.is_dir() else Path(__file__).parents[1] / "grafana"
    paths = sorted(path for folder in FOLDERS for path in (source / folder).glob("*") if path.is_file())
    return {path.relative_to(source).as_posix(): path.read_bytes() for path in paths}


def lay_out(directory: Path, *, force: bool = False) -> list[Path]:
    """Write every file below `directory`, which need not exist yet; return where they are.

    Args:
        directory: where to.
        force: whether to write over files that say something else, as an edited one does.

    Raises:
        CannotWrite: a file says something else and is not to be written over, or the directory cannot be written to.
            In the first case nothing was written.
    """
    files = {directory / path: content for path, content in shipped().items()}
    if edited := [path for path, content in files.items() if not force and _says_something_else(path, content)]:
        raise CannotWrite(f"{edited[0]} is there and differs ({len(edited)} such): --force writes over it")
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise CannotWrite(f"cannot write to {error.filename or directory}: {error.strerror}") from None
    return list(files)


def _says_something_else(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() != content
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it is there, and cannot be read
        return True
