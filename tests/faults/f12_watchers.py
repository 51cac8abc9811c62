"""F12: who watches is gone: the auditor killed, intake frozen, the channel to people outside away; the others ring."""

import asyncio
import signal
import time

import httpx

from tests.faults.fault import Fault, Scene
from tests.faults.healing import seconds_until
from tests.faults.invariants import Bounds
from tests.faults.logs import SPOKEN, lines, moment
from tests.faults.programs import POLICE
from tests.faults.proxy import Wire
from tests.faults.shapes import ONE_BROKER

NOTICED_WITHIN = 60.0
SEEN_TO_BEAT = 6.0
"""Seconds; intake looks every five."""

FROZEN = 24.0
AWAY = 22.0


async def auditor_dead(scene: Scene) -> None:
    """Killed while all is well, and not started again until somebody has been told."""
    clock = asyncio.get_running_loop().time
    await seconds_until(lambda: beats(scene), clock(), NOTICED_WITHIN)
    await asyncio.sleep(SEEN_TO_BEAT)
    began = time.time()
    scene.stage.gates.shut("auditor")
    scene.stage.running.kill("auditor")

    async def noticed() -> bool:
        told = lines(scene.stage.running.state / "channel" / "log.jsonl")
        return any(moment(line) > began and not SPOKEN.search(line["words"]) for line in told)

    took = await seconds_until(noticed, clock(), NOTICED_WITHIN)
    scene.probe("a dead auditor noticed", took, NOTICED_WITHIN)
    scene.note(f"noticed after {took:.0f} s" if took is not None else "not noticed")
    scene.stage.gates.open("auditor")
    await scene.up("auditor")


async def beats(scene: Scene) -> bool:
    """Whether the auditor finds nothing to differ; after another fault that takes it a while."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        return (await client.get(f"{scene.stage.running.urls['auditor']}/heartbeat")).status_code == httpx.codes.OK


async def intake_frozen(scene: Scene) -> None:
    """110 is down, so that people must be rung, and the one who would ring stands still: the auditor has the ledger."""
    await scene.stage.wires[POLICE].behave(Wire.REFUSED)
    await asyncio.sleep(6)
    scene.stage.signal("hotline_intake", signal.SIGSTOP)
    await asyncio.sleep(FROZEN)
    scene.stage.signal("hotline_intake", signal.SIGCONT)
    await scene.stage.wires[POLICE].behave(Wire.WHOLE)


async def channel_away(scene: Scene) -> None:
    """110 is down and nobody outside can be told: the screens ring all the same."""
    scene.stage.gates.shut("channel")
    scene.stage.running.kill("channel")
    await scene.stage.wires[POLICE].behave(Wire.REFUSED)
    await asyncio.sleep(AWAY)
    scene.stage.gates.open("channel")
    await scene.stage.wires[POLICE].behave(Wire.WHOLE)
    await scene.up("channel")


SILENT = Bounds(delivery=None, exempt=frozenset({POLICE}))

FAULTS = (
    Fault("F12a", "the auditor killed until somebody notices", ONE_BROKER, auditor_dead, Bounds(delivery=5.0), rate=8),
    Fault("F12b", f"110 down and intake frozen for {FROZEN:.0f} s", ONE_BROKER, intake_frozen, SILENT, rate=8),
    Fault("F12c", f"110 and the channel outside down for {AWAY:.0f} s", ONE_BROKER, channel_away, SILENT, rate=10),
)
