"""An adapter that stood still hears what it missed before it sends."""

import asyncio
import time

from services.responder_adapter.standstill import CATCHES_UP, STOOD, Standstill


async def waits(standstill: Standstill) -> float:
    began = asyncio.get_running_loop().time()
    await standstill.over()
    return asyncio.get_running_loop().time() - began


async def test_after_a_standstill_nothing_leaves_before_there_was_time_to_hear() -> None:
    """Else an order overtakes the phone call that a person made while this process was stopped."""
    standstill = Standstill()
    beating = asyncio.create_task(standstill.run())
    await asyncio.sleep(0)
    assert await waits(standstill) < 0.1
    time.sleep(STOOD + 0.2)  # noqa: ASYNC251 the whole loop stands still, as under SIGSTOP
    assert await waits(standstill) > CATCHES_UP - 0.1
    assert await waits(standstill) < 0.1
    beating.cancel()
