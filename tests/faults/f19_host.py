"""F19: others take the host's processors: four times as many busy processes as it has cores, at a load that it carries.

A desk that is late then may ring; one that had the call before its silence was to ring must not.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

from deploy.local.process import Process
from tests.faults.fault import Fault, Scene
from tests.faults.healing import seconds_until
from tests.faults.invariants import Bounds
from tests.faults.shapes import ONE_BROKER

OVERSUBSCRIBED = 4
FOR, DELIVERED_WITHIN = 60.0, 10.0
"""Seconds; the second from the end of the first."""

RATE = 8.0
"""Calls a second, two fifths of the ordinary rate: what two cores carry then; at 12 seats wait for more than 5 s."""

BOUNDS = Bounds(first_try=True, earned=True)
SPIN = "while True: pass"


def oversubscribed(seconds: float = FOR) -> Callable[[Scene], Awaitable[None]]:
    """Busy for so long, then everything that was accepted until then is at its desks."""

    async def inflict(scene: Scene) -> None:
        count = OVERSUBSCRIBED * (os.cpu_count() or 1)
        log = scene.stage.running.state / "logs" / "busy.log"
        busy = [await Process.start("busy", (sys.executable, "-I", "-S", "-c", SPIN), log=log) for _ in range(count)]
        try:
            await asyncio.sleep(seconds)
        finally:
            for one in busy:
                await one.stop(grace=0)
        ended, clock = time.time(), asyncio.get_running_loop().time
        took = await seconds_until(lambda: delivered(scene, ended), clock(), DELIVERED_WITHIN)
        scene.probe("all accepted by its end delivered", took, DELIVERED_WITHIN)
        scene.note(f"{count} busy processes on {os.cpu_count()} cores")

    return inflict


async def delivered(scene: Scene, until: float) -> bool:
    """Whether every desk has each of this fault's calls that was accepted by then."""
    seen = scene.stage.folder.of(scene.stage.fault)
    return all(seen.delivered(cry.case, desk) is not None for cry, desk, saved in seen.pairs() if saved <= until)


FAULTS = (
    Fault(
        "F19",
        f"{OVERSUBSCRIBED} times more busy processes than cores, {FOR:.0f} s",
        ONE_BROKER,
        oversubscribed(),
        BOUNDS,
        rate=RATE,
    ),
)
