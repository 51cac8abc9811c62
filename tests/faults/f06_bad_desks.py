"""F6: the whole list of bad desks at once, each with its own misbehaviour, beside a 110 that must not notice."""

import asyncio

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import BAD_DESKS

FOR = 26.0


async def all_bad(scene: Scene) -> None:
    """As they are, then all of them well: what had come to nothing is tried again, and none may send a second car."""
    await asyncio.sleep(FOR)
    for bad in scene.stage.shape.bad:
        await scene.stage.heal(bad)
    scene.note(f"{len(scene.stage.shape.bad)} kinds: {', '.join(bad.words for bad in scene.stage.shape.bad)}")


FAULTS = (
    Fault(
        "F6",
        "every bad desk beside a good 110",
        BAD_DESKS,
        all_bad,
        Bounds(delivery=5.0, exempt=frozenset(bad.desk for bad in BAD_DESKS.bad), drained=None),
        rate=18,
        also=tuple(bad.kind for bad in BAD_DESKS.bad),
    ),
)
