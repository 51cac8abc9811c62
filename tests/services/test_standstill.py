"""An adapter that stood still, or whose store did, hears what it missed before it sends. Time is virtual."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.responder_adapter.standstill import BEAT, BEGINS_WITH, CATCHES_UP, SILENT, STOOD, TOLD_AGAIN, Standstill
from tests.simulation.loop import VirtualLoop


class Adapter:
    """One that has just started; `store_silent` is how long its store has said nothing, in seconds."""

    def __init__(self) -> None:
        self.store_silent = 0.0
        self.ran = 0.0
        self.standstill = Standstill(lambda: self.moment() - self.store_silent, lambda: self.ran)

    def moment(self) -> float:
        return asyncio.get_running_loop().time()

    async def waits(self) -> float:
        """Seconds until it would send now."""
        began = self.moment()
        await self.standstill.over()
        return self.moment() - began


def play(story: Callable[[Adapter, VirtualLoop], Awaitable[None]]) -> None:
    """The story of one that has run for a while, when the wait of its start is over."""
    loop = VirtualLoop()

    async def played() -> None:
        adapter = Adapter()
        await asyncio.sleep(100)
        beating = asyncio.create_task(adapter.standstill.run())
        await asyncio.sleep(0)
        assert await adapter.waits() == pytest.approx(BEGINS_WITH)
        await story(adapter, loop)
        beating.cancel()

    try:
        loop.run_until_complete(played())
    finally:
        loop.close()


def test_after_a_standstill_nothing_leaves_before_there_was_time_to_hear() -> None:
    """Else an order overtakes the phone call that a person made while this process was stopped."""

    async def story(adapter: Adapter, loop: VirtualLoop) -> None:
        assert await adapter.waits() == 0
        loop.stand_still(STOOD + 0.2)
        assert await adapter.waits() == pytest.approx(CATCHES_UP)
        assert await adapter.waits() == 0

    play(story)


def test_when_the_store_is_back_what_intake_kept_on_paper_comes_first() -> None:
    """Else an order that waited for the store overtakes the claim that waited for it beside it."""

    async def story(adapter: Adapter, _: VirtualLoop) -> None:
        adapter.store_silent = SILENT + 1
        await asyncio.sleep(2 * BEAT)
        adapter.store_silent = 0.0
        assert await adapter.waits() == pytest.approx(TOLD_AGAIN)
        assert await adapter.waits() == 0

    play(story)


def test_l2_a_loop_that_was_merely_late_holds_nothing_back() -> None:
    """Else every second of a load that it cannot carry costs each order another second."""

    async def story(adapter: Adapter, loop: VirtualLoop) -> None:
        loop.stand_still(3 * STOOD)
        adapter.ran += 2.5 * STOOD
        assert await adapter.waits() == 0
        loop.stand_still(3 * STOOD)
        assert await adapter.waits() == pytest.approx(CATCHES_UP)

    play(story)
