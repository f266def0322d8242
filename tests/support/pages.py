"""The pages of the documentation, whose code tests run and whose output they compare."""

import re
from pathlib import Path
from typing import Any

from instrumented_pool._servers import Valkey

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page: Path, kind: str) -> list[str]:
    """The blocks of one language, in order; the language of a plain block is empty."""
    found: list[tuple[str, str]] = re.findall(
        r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    return [text for each, text in found if each == kind]


def block(page: Path, kind: str, containing: str) -> str:
    """The first block of one language that has some words in it."""
    return next(text for text in blocks(page, kind) if containing in text)


def run_block(page: Path, containing: str) -> dict[str, Any]:
    """Run the Python block that has some words in it, and return the names that it gives."""
    names: dict[str, Any] = {}
    exec(compile(block(page, "python", containing), page.name, "exec"), names)
    return names


def as_on_the_page(output: str, server: Valkey) -> str:
    """What a program printed beside `server`, as if that had been where the pages have it."""
    return output.replace(server.host, "localhost").replace(str(server.port), "6379")


def section(page: Path, name: str) -> str:
    """What stands on a page between the marks of that name, which a tool has put there."""
    return _parted(page, name)[1]


def table_in(page: Path, name: str) -> list[list[str]]:
    """The cells of the table there, row by row, its head first."""
    head, _, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section(page, name).splitlines()]
    return [head, *rows]


def write_section(page: Path, name: str, content: str) -> None:
    """Put something else there."""
    before, _, after = _parted(page, name)
    page.write_text(before + content + after)


def _parted(page: Path, name: str) -> tuple[str, str, str]:
    begin, end = rf"^<!-- {name}: made by [^\n]* -->\n", rf"^<!-- end of {name} -->\n"
    parts = re.fullmatch(rf"(.*{begin})(.*)({end}.*)", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert parts, f"{page.name} has no place for {name!r}"
    return parts[1], parts[2], parts[3]
