"""An adapter that stood still, or whose store did, hears what it missed before it sends."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from services.responder_adapter.standstill import BEAT, BEGINS_WITH, CATCHES_UP, SILENT, STOOD, TOLD_AGAIN, Standstill


class Silence:
    """How long the store has said nothing."""

    seconds = 0.0

    def answered(self) -> float:
        return asyncio.get_running_loop().time() - self.seconds


@pytest.fixture
async def silence() -> Silence:
    return Silence()


@pytest.fixture
async def standstill(silence: Silence) -> AsyncIterator[Standstill]:
    made = Standstill(silence.answered)
    beating = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    assert BEGINS_WITH - 0.1 < await waits(made) < BEGINS_WITH + 0.3
    yield made
    beating.cancel()


async def waits(standstill: Standstill) -> float:
    began = asyncio.get_running_loop().time()
    await standstill.over()
    return asyncio.get_running_loop().time() - began


async def test_after_a_standstill_nothing_leaves_before_there_was_time_to_hear(standstill: Standstill) -> None:
    """Else an order overtakes the phone call that a person made while this process was stopped."""
    assert await waits(standstill) < 0.1
    time.sleep(STOOD + 0.2)  # noqa: ASYNC251 the whole loop stands still, as under SIGSTOP
    assert await waits(standstill) > CATCHES_UP - 0.1
    assert await waits(standstill) < 0.1


async def test_when_the_store_is_back_what_intake_kept_on_paper_comes_first(
    standstill: Standstill, silence: Silence
) -> None:
    """Else an order that waited for the store overtakes the claim that waited for it beside it."""
    silence.seconds = SILENT + 1
    await asyncio.sleep(2 * BEAT)
    silence.seconds = 0.0
    assert await waits(standstill) > TOLD_AGAIN - 0.5
    assert await waits(standstill) < 0.1
