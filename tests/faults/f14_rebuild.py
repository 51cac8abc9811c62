"""F14: Valkey emptied under load and rebuilt from Kafka; a person phones what the journal replays only afterwards."""

import asyncio

from redis.asyncio import Redis

from tests.faults.fault import Fault, Scene
from tests.faults.healing import jingyi
from tests.faults.invariants import Bounds
from tests.faults.shapes import TWO_ADAPTERS

AWAY = 12.0
PHONED = 12


async def emptied(scene: Scene) -> None:
    """Everything is gone at once, and made again beside what comes in meanwhile."""
    async with Redis.from_url(scene.stage.running.redis_url) as redis:
        await redis.flushall()
    clock = asyncio.get_running_loop().time
    began = clock()
    code, said = await jingyi(scene.stage.running.state, scene.stage.kafka, "rebuild", "--beside")
    scene.note(f"rebuilt in {clock() - began:.0f} s" if code == 0 else f"the rebuild failed: {said[-300:]}")
    scene.probe("rebuilt", clock() - began if code == 0 else None, 60.0)


async def phoned(scene: Scene) -> None:
    """Rung from memory, phoned and settled by a person, and only then learnt by the store: no car may follow."""
    scene.stage.gates.shut("valkey")
    scene.stage.running.kill("valkey")
    scene.seats.phones = PHONED
    await asyncio.sleep(AWAY)
    scene.stage.gates.open("valkey")
    await scene.up("valkey")
    scene.note(f"{PHONED - scene.seats.phones} alarms phoned and settled by a person meanwhile")


FAULTS = (
    Fault("F14a", "FLUSHALL under load, rebuilt from Kafka", TWO_ADAPTERS, emptied, Bounds(), rate=12),
    Fault("F14b", "the journal replayed after a human phoned", TWO_ADAPTERS, phoned, Bounds(alarm=10.0), rate=8),
)
