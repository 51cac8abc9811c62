"""F5: an adapter is frozen right before a POST, a second one takes over, then the first one wakes up and sends."""

import asyncio
import signal

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import TWO_ADAPTERS

ROUNDS = 1
FROZEN, AWAKE = 10.0, 3.0
"""Seconds; the group's session lasts 6, a lease 3."""


async def frozen(scene: Scene) -> None:
    for _ in range(ROUNDS):
        nth = scene.chance.randint(1, 8)
        scene.stage.plant("responder_adapter", "post.before", nth, signal.SIGSTOP)
        await asyncio.sleep(FROZEN)
        scene.stage.signal("responder_adapter", signal.SIGCONT)
        await asyncio.sleep(AWAKE)
    scene.note(f"{ROUNDS} times frozen for {FROZEN:.0f} s right before a POST")


FAULTS = (Fault("F5", "zombie adapter beside a second one", TWO_ADAPTERS, frozen, Bounds(delivery=20.0), rate=20),)
