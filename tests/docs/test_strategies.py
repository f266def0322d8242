"""The page on strategies: its code runs on real servers, and its table is about the strategies that there are."""

import pkgutil
from pathlib import Path

import pytest

from instrumented_pool import strategies
from instrumented_pool._servers import Postgres, Valkey
from support.pages import DOCS, run_block

PAGE = DOCS / "strategies.md"


@pytest.mark.parametrize("function", ["pay", "pay_with_psycopg"])
async def test_code_of_the_page_pays_an_order_on_postgresql(postgres: Postgres, function: str) -> None:
    """Each in its own block, in the driver's own words."""
    assert await run_block(PAGE, f"def {function}(")[function](postgres.url, 7) == "paid 7"


async def test_code_of_the_page_pays_an_order_on_redis(server: Valkey) -> None:
    """With text for text."""
    pay = run_block(PAGE, "def pay_in_redis(")["pay_in_redis"]
    assert await pay(f"redis://{server.host}:{server.port}", 7) == "paid 7"


async def test_code_of_the_page_pays_an_order_on_sqlite(tmp_path: Path) -> None:
    """In a file of its own."""
    assert await run_block(PAGE, "def pay_in_sqlite(")["pay_in_sqlite"](str(tmp_path / "orders.db"), 7) == "paid 7"


async def test_code_of_the_page_pays_an_order_line_by_line(server: Valkey) -> None:
    """As one may speak to Valkey by hand."""
    assert await run_block(PAGE, "def pay_by_line(")["pay_by_line"](server.host, server.port, 7) == "paid 7"


def test_table_has_a_column_for_each_strategy() -> None:
    """By the names of the modules."""
    head = next(line for line in PAGE.read_text().splitlines() if line.startswith("| |"))
    modules = {module.name for module in pkgutil.iter_modules(strategies.__path__) if not module.name.startswith("_")}
    assert {cell.strip(" `") for cell in head.split("|") if cell.strip()} == modules
