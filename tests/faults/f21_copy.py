"""F21: the store comes back as an older copy of itself: refused aloud, people are rung, a rebuild brings it back."""

import asyncio
import shutil

from redis.asyncio import Redis

from deploy.local.system import SERVICES
from tests.faults.fault import Fault, Scene
from tests.faults.healing import jingyi, seconds_until
from tests.faults.invariants import Bounds
from tests.faults.shapes import REPLACED

OLDER = 25.0
"""Seconds by which the copy is older, at the least: more than two marks of a service are apart."""

REFUSED_WITHIN, REBUILT_WITHIN = 10.0, 60.0
RUNG = 6.0
"""Seconds in which the old cases wait, and people are rung."""


async def copied(scene: Scene) -> None:
    running, clock = scene.stage.running, asyncio.get_running_loop().time
    folder = running.state / "valkey" / "appendonlydir"
    kept = folder.with_name("kept")
    await asyncio.to_thread(shutil.copytree, folder, kept)
    await asyncio.sleep(OLDER)
    scene.stage.gates.shut("valkey")
    running.kill("valkey")
    await scene.ended("valkey")
    shutil.rmtree(folder)
    kept.rename(folder)
    scene.stage.gates.open("valkey")
    await scene.up("valkey")
    took = await seconds_until(lambda: refused(scene), clock(), REFUSED_WITHIN)
    scene.probe("refused aloud by every service", took, REFUSED_WITHIN)
    await asyncio.sleep(RUNG)
    began = clock()
    code, said = await emptied_and_rebuilt(scene)
    scene.probe("rebuilt", clock() - began if code == 0 else None, REBUILT_WITHIN)
    scene.note(f"rebuilt in {clock() - began:.0f} s" if code == 0 else f"the rebuild failed: {said[-300:]}")


async def refused(scene: Scene) -> bool:
    """Whether each service says that its store does not know what it knew."""
    told = [await scene.health(service) for service in SERVICES]
    return all("what the store knew" in one.get("away", ()) for one in told)


async def emptied_and_rebuilt(scene: Scene) -> tuple[int, str]:
    """As `jingyi rebuild` itself says: a copy is emptied first, for Kafka has all of it, newer."""
    async with Redis.from_url(scene.stage.running.redis_url) as redis:
        await redis.flushdb()
    return await jingyi(scene.stage.running.state, scene.stage.kafka, "rebuild", "--beside")


FAULTS = (
    Fault(
        "F21",
        f"the store replaced by a copy {OLDER:.0f} s old",
        REPLACED,
        copied,
        Bounds(first_try=True),
        rate=8,
    ),
)
