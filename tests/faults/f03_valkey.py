"""F3: Valkey killed twenty times at load; away for a quarter of a minute; come back with a last write torn in two."""

import asyncio

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import ONE_BROKER

KILLS = 20
AWAY = 12.0
TORN = b"*3\r\n$5\r\nFCALL\r\n$5\r\nle"
"""The beginning of a command: what a crash leaves of a write that nobody got an answer to."""


async def killed(scene: Scene, times: int = KILLS) -> None:
    """Again and again, before the services have quite recovered from the last time."""
    for _ in range(times):
        scene.stage.running.kill("valkey")
        await scene.ended("valkey")
        await scene.up("valkey")
        await asyncio.sleep(scene.chance.uniform(0.2, 1.0))
    scene.note(f"{times} kills")


async def away(scene: Scene) -> None:
    """Nobody starts it again for a while."""
    scene.stage.gates.shut("valkey")
    scene.stage.running.kill("valkey")
    await asyncio.sleep(AWAY)
    scene.stage.gates.open("valkey")
    await scene.up("valkey")


async def torn(scene: Scene) -> None:
    """Its log ends in the middle of a command."""
    scene.stage.gates.shut("valkey")
    scene.stage.running.kill("valkey")
    await scene.ended("valkey")
    [log] = sorted((scene.stage.running.state / "valkey" / "appendonlydir").glob("*.incr.aof"))[-1:]
    with log.open("ab") as end:
        end.write(TORN)
    scene.stage.gates.open("valkey")
    await scene.up("valkey")
    scene.note(f"{len(TORN)} bytes of half a command at the end of its log")


FAULTS = (
    Fault("F3a", f"Valkey kill -9 ×{KILLS} at load", ONE_BROKER, killed, Bounds()),
    Fault("F3b", f"Valkey away for {AWAY:.0f} s", ONE_BROKER, away, Bounds(alarm=10.0), rate=15),
    Fault("F3c", "Valkey restarted on a torn last write", ONE_BROKER, torn, Bounds(delivery=5.0)),
)
