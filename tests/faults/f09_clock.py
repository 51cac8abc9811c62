"""F9: wall clocks that are wrong: signatures out of time must ring, a clock set back makes no deadline late."""

import asyncio

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.programs import AMBULANCE, POLICE
from tests.faults.proxy import Wire
from tests.faults.shapes import ONE_BROKER

MINUTES, HOUR = 600.0, 3600.0
WRONG = 12.0


async def unsigned(scene: Scene) -> None:
    """The adapter's clock is ten minutes ahead: no desk believes its signatures."""
    scene.stage.skew("responder_adapter", MINUTES)
    await asyncio.sleep(WRONG)
    scene.stage.skew("responder_adapter", 0)


async def set_back(scene: Scene) -> None:
    """110 is down; while its silence is counted, everybody else's clock is set back by an hour, then ten minutes on."""
    await scene.stage.wires[POLICE].behave(Wire.REFUSED)
    await asyncio.sleep(8)
    for seconds in (-HOUR, MINUTES, 0.0):
        for service in ("hotline_intake", "risk_assessment", "dispatch"):
            scene.stage.skew(service, seconds)
        await asyncio.sleep(WRONG / 2)
    await scene.stage.wires[POLICE].behave(Wire.WHOLE)


FAULTS = (
    Fault(
        "F9a",
        "the adapter's clock 10 min ahead: signatures refused",
        ONE_BROKER,
        unsigned,
        Bounds(exempt=frozenset({POLICE, AMBULANCE})),
        rate=12,
    ),
    Fault(
        "F9b",
        "all other clocks −1 h, then +10 min, while 110 is silent",
        ONE_BROKER,
        set_back,
        Bounds(delivery=5.0, exempt=frozenset({POLICE})),
        rate=12,
    ),
)
