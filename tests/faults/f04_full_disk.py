"""F4: the disk under Valkey, and the one under the broker, is full: nothing is accepted that is not kept.

A file system that is full needs root to make; a limit on the size of a file gives the same refusal at the same write.
"""

import asyncio

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import ONE_BROKER

ROOM = 4096
"""Bytes that a file may have: less than any log has that is in use."""

FULL = 8.0


async def valkey(scene: Scene) -> None:
    await full(scene, "valkey")


async def kafka(scene: Scene) -> None:
    await full(scene, "kafka")


async def full(scene: Scene, name: str) -> None:
    """It ends at its next write, as it must, and is not started again while there is no room."""
    scene.stage.gates.shut(name)
    scene.stage.fill_disk(name, ROOM)
    ended = await scene.ended(name, within=FULL)
    scene.note(f"{name} {'ended at its next write' if ended else 'went on'}")
    await asyncio.sleep(FULL)
    if not ended:
        scene.stage.running.kill(name)
    scene.stage.gates.open(name)
    await scene.ended(name)
    await scene.up(name)


FAULTS = (
    Fault("F4a", f"no room for Valkey's log, {FULL:.0f} s", ONE_BROKER, valkey, Bounds(alarm=10.0), rate=12),
    Fault(
        "F4b",
        f"no room for the broker's log, {FULL:.0f} s",
        ONE_BROKER,
        kafka,
        Bounds(alarm=10.0, delivery=5.0),
        rate=12,
    ),
)
