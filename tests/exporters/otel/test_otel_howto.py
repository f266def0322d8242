"""The program on the page shows what the page shows."""

import asyncio
import re
import sys
from pathlib import Path

from instrumented_pool._servers import Valkey
from support.pages import DOCS, block

PAGE = DOCS / "exporters" / "opentelemetry.md"
URL = "redis://localhost:6379"


def told(output: str) -> list[str]:
    """What an output says, with the traces numbered as they appear and without times."""
    traces: dict[str, str] = {}
    numbered = re.sub(r"\b[0-9a-f]{32}\b", lambda match: traces.setdefault(match[0], f"#{len(traces)}"), output)
    return re.sub(r" +\d+\.\d ms", " 0.0 ms", numbered).splitlines()


async def test_the_first_trace_looks_as_on_the_page(tmp_path: Path, server: Valkey) -> None:
    """Beside a real server, apart from ids and times."""
    source = block(PAGE, "python", "ConsoleSpanExporter")
    assert URL in source
    script = tmp_path / "app.py"
    script.write_text(source.replace(URL, f"redis://{server.host}:{server.port}"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, errors.decode()) == (0, "")
    assert told(output.decode()) == told(block(PAGE, "", "held up by"))
