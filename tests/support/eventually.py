"""Waiting for what another process or task will bring about."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def eventually(so: Callable[[], Awaitable[bool] | bool], within: float = 30.0, every: float = 0.05) -> float:
    """Return the seconds it took until it was so. Raises TimeoutError after `within` seconds; looks each `every`."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with asyncio.timeout(within):
        while True:
            found = so()
            if await found if inspect.isawaitable(found) else found:
                return clock() - begun
            await asyncio.sleep(every)
