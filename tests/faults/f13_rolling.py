"""F13: everything is restarted in turn while calls come in, as for a new version: nobody is rung, nothing doubled."""

import signal

from deploy.local.system import SERVICES
from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import THREE_BROKERS

EVERYTHING = (*SERVICES, "kafka", "kafka_2", "kafka_3")


async def rolling(scene: Scene) -> None:
    """Asked to stop, gone, and up again before the next one is asked."""
    for name in EVERYTHING:
        scene.stage.running.kill(name, signal.SIGTERM)
        await scene.ended(name)
        await scene.up(name)
    scene.note(", ".join(EVERYTHING))


FAULTS = (
    Fault("F13", "rolling restart under load", THREE_BROKERS, rolling, Bounds(delivery=7.0, quiet=True), rate=15),
)
