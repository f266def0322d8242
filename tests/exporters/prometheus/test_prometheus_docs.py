"""The page shows what a scrape shows, and its program does what it says."""

import asyncio
import re
import sys
from pathlib import Path
from urllib.request import urlopen

from instrumented_pool._servers import HOST, Valkey, free_port
from instrumented_pool.metrics import COUNTS
from instrumented_pool_prometheus import PoolCollector
from support.pages import DOCS, as_on_the_page, block

PAGE = DOCS / "exporters" / "prometheus.md"


def test_the_page_lists_every_family() -> None:
    """Name, type, labels and meaning, in the order of a scrape."""
    labels = {count.description: [label.replace(".", "_") for label in count.labels] for count in COUNTS}
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} |"
        f" {', '.join(f'`{label}`' for label in labels.get(family.documentation, []))} | {family.documentation} |"
        for family in PoolCollector().describe()
    ]
    assert re.findall(r"^\| `.*\|$", PAGE.read_text().partition("## Names")[2], re.MULTILINE) == rows


async def test_the_program_on_the_page_shows_what_the_page_shows(tmp_path: Path, server: Valkey) -> None:
    """Run beside a real server and scraped, with the page's own grep."""
    source, port = block(PAGE, "python", "start_http_server"), free_port()
    for there, here in (
        ("localhost:6379", f"{server.host}:{server.port}"),
        ("server(9000)", f"server({port}, '{HOST}')"),
    ):
        assert there in source
        source = source.replace(there, here)
    script = tmp_path / "app.py"
    script.write_text(source)
    (pattern,) = re.findall(r"grep -E '(.*)'", PAGE.read_text())
    shown = block(PAGE, "", "db_client_connection_count{").splitlines()
    process, seen = await asyncio.create_subprocess_exec(sys.executable, script), [""]
    try:
        async with asyncio.timeout(30):
            while seen != shown:
                lines = await asyncio.to_thread(grep, pattern, f"http://{HOST}:{port}/metrics")
                seen = [as_on_the_page(line, server) for line in lines]
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert seen == shown
    finally:
        process.kill()
        await process.wait()


def grep(pattern: str, url: str) -> list[str]:
    try:
        with urlopen(url, timeout=5) as response:
            return [line for line in response.read().decode().splitlines() if re.search(pattern, line)]
    except OSError:  # it is not up yet
        return []
