"""F13: everything is restarted in turn while calls come in, as for a new version: nobody is rung, nothing doubled."""

import asyncio
import signal

from deploy.local.system import SERVICES
from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import THREE_BROKERS

STANDS = 2.0
"""Seconds for which a service is ready before the next one is asked, as a rollout's minReadySeconds."""

EVERYTHING = (*SERVICES, "kafka", "kafka_2", "kafka_3")


async def rolling(scene: Scene) -> None:
    """Asked to stop, gone, and up again for a while before the next one is asked."""
    for name in EVERYTHING:
        scene.stage.running.kill(name, signal.SIGTERM)
        await scene.ended(name)
        await scene.up(name)
        await asyncio.sleep(STANDS)
    scene.note(", ".join(EVERYTHING))


FAULTS = (
    Fault("F13", "rolling restart under load", THREE_BROKERS, rolling, Bounds(delivery=5.0, quiet=True), rate=15),
)
