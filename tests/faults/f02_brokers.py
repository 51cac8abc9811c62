"""F2: each of three brokers killed in turn, then frozen: leader, coordinator, controller; then two, then all down."""

import asyncio
import signal
import time

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import THREE_BROKERS

BROKERS = ("kafka", "kafka_2", "kafka_3")
FROZEN = 8.0
DOWN = 7.0
"""Seconds."""


async def killed(scene: Scene) -> None:
    """Whatever role a broker has, its turn comes."""
    for broker in BROKERS:
        scene.stage.running.kill(broker)
        await scene.ended(broker)
        await scene.up(*BROKERS)
        await asyncio.sleep(2)


async def frozen(scene: Scene) -> None:
    """Each stands still for longer than its session with the controller lasts, and comes back believing itself."""
    for broker in BROKERS:
        scene.stage.signal(broker, signal.SIGSTOP)
        await asyncio.sleep(FROZEN)
        scene.stage.signal(broker, signal.SIGCONT)
        await asyncio.sleep(3)


async def two_down(scene: Scene) -> None:
    await down(scene, *scene.chance.sample(BROKERS, 2))


async def all_down(scene: Scene) -> None:
    await down(scene, *BROKERS)


async def down(scene: Scene, *brokers: str) -> None:
    """Killed together, and not started again for a while: so long seats must not wait, whatever starts afterwards."""
    for broker in brokers:
        scene.stage.gates.shut(broker)
        scene.stage.running.kill(broker)
    began = time.time()
    await asyncio.sleep(DOWN)
    scene.accepted(began, "it is down")
    for broker in brokers:
        scene.stage.gates.open(broker)
    await scene.up(*brokers)


FAULTS = (
    Fault("F2a", "each of 3 brokers killed in turn", THREE_BROKERS, killed, Bounds(delivery=5.0)),
    Fault("F2b", f"each of 3 brokers frozen for {FROZEN:.0f} s", THREE_BROKERS, frozen, Bounds(delivery=5.0)),
    Fault(
        "F2c",
        f"2 of 3 brokers down for {DOWN:.0f} s",
        THREE_BROKERS,
        two_down,
        Bounds(alarm=10.0, delivery=5.0),
    ),
    Fault(
        "F2d",
        f"all of Kafka down for {DOWN:.0f} s",
        THREE_BROKERS,
        all_down,
        Bounds(alarm=10.0, delivery=5.0),
    ),
)
