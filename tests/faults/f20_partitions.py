"""F20: somebody gives every topic more partitions while calls come in and 110 is down, so that cases are open.

From then on a case may lie on two partitions. The product says so, and goes on.
"""

import asyncio

from aiokafka.admin import NewPartitions

from deploy.local.system import SERVICES
from deploy.local.topics import administrator, listed
from tests.faults.fault import Fault, Scene
from tests.faults.healing import seconds_until
from tests.faults.invariants import Bounds
from tests.faults.programs import POLICE
from tests.faults.proxy import Wire
from tests.faults.shapes import REPLACED

RAISED_TO = 16
DOWN = 4.0
SAID_WITHIN = 65.0
"""Seconds; settings are looked at each minute."""


async def raised(scene: Scene) -> None:
    await scene.stage.wires[POLICE].behave(Wire.REFUSED)
    await asyncio.sleep(DOWN)
    topics = [topic.name for topic in listed() if not topic.name.endswith(".dlq")]
    async with administrator(scene.stage.kafka) as admin:
        await admin.create_partitions({topic: NewPartitions(RAISED_TO) for topic in topics})
    await asyncio.sleep(DOWN)
    await scene.stage.wires[POLICE].behave(Wire.WHOLE)

    async def said() -> bool:
        told = [await scene.health(service) for service in SERVICES]
        return all(one.get("status") == "degraded" and "partitions" in str(one.get("weak")) for one in told)

    took = await seconds_until(said, asyncio.get_running_loop().time(), SAID_WITHIN)
    scene.probe("degraded says it", took, SAID_WITHIN)
    scene.note(", ".join(topics))


FAULTS = (
    Fault(
        "F20",
        f"12 partitions raised to {RAISED_TO} while cases are open",
        REPLACED,
        raised,
        Bounds(first_try=True),
        rate=10,
    ),
)
