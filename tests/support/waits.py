"""Waiting for what is on its way."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop run until something that is on its way has come true."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
