"""F11: twice as many calls as the system can carry, with one of three brokers down and a slow 110."""

import asyncio

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import THREE_BROKERS

SLOW = 2.0
FOR = 12.0
CAPACITY = 45.0
"""Escalations a second that this stage carries flat out beside the suite itself on two shared cores: 42 to 57 measured,
by how long a herd took until all were delivered."""


async def herd(scene: Scene) -> None:
    scene.stage.gates.shut("kafka_3")
    scene.stage.running.kill("kafka_3")
    await scene.behave("desk_110", slow=SLOW)
    await asyncio.sleep(FOR)
    await scene.behave("desk_110", slow=0)
    scene.stage.gates.open("kafka_3")
    await scene.up("kafka_3")


FAULTS = (
    Fault(
        "F11",
        f"{2 * CAPACITY:.0f} calls/s for {FOR:.0f} s, 1 of 3 brokers down, 110 slow",
        THREE_BROKERS,
        herd,
        Bounds(drained=60.0),
        rate=2 * CAPACITY,
        only_by_hand=True,
    ),
)
