"""The page's program prints what the page shows."""

import asyncio
import json
import re
import sys
from logging import getLevelName
from pathlib import Path
from typing import Any, get_args

from instrumented_pool import FailReason
from instrumented_pool._servers import Valkey
from instrumented_pool_structlog._observer import FAIL_LEVELS, LEVELS
from support.pages import DOCS, as_on_the_page, block

PAGE = DOCS / "exporters" / "structlog.md"


def told(output: str) -> list[dict[str, Any]]:
    """The lines without what differs from run to run, and the error's up to the holders, where the page cuts it off."""
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        line.update({key: 0.0 for key, value in line.items() if isinstance(value, float)})
        if "error" in line:
            line["error"] = re.sub(r" report-\d has held .*", "", line["error"])
    return lines


def test_the_page_has_every_event_and_reason_at_its_level() -> None:
    """As the tables of the code say; of what is routine, it says that it is."""
    rows = dict(re.findall(r"^\| (error|warning|info) \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
    for hook, level in LEVELS.items():
        assert f"`{hook}`" in rows[getLevelName(level).lower()]
    for reason in get_args(FailReason):
        level = FAIL_LEVELS.get(reason, LEVELS["on_acquire_failed"])
        assert re.search(rf"`on_acquire_failed` \([^)]*`{reason}`", rows[getLevelName(level).lower()])


async def test_the_program_on_the_page_prints_what_the_page_shows(tmp_path: Path, server: Valkey) -> None:
    """Beside a real server."""
    source = block(PAGE, "python", "async def report")
    assert "localhost:6379" in source
    script = tmp_path / "app.py"
    script.write_text(source.replace("localhost:6379", f"{server.host}:{server.port}"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    printed = as_on_the_page(output.decode(), server)
    assert told(printed) == told(block(PAGE, "json", "on_pool_opened"))
