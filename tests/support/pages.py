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
