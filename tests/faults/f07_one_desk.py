"""F7: one desk is down and the other must not notice; then both have it, but their word of it is lost."""

from collections.abc import Awaitable, Callable

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.programs import AMBULANCE, POLICE
from tests.faults.proxy import Wire
from tests.faults.shapes import ONE_BROKER


def spoilt(how: Wire, seconds: float, *desks: str) -> Callable[[Scene], Awaitable[None]]:
    """The wires of these desks are like that for a while."""
    return lambda scene: scene.stage.spoil(how, seconds, *desks)


FAULTS = (
    Fault(
        "F7a",
        "110 down for 8 s, 120 up",
        ONE_BROKER,
        spoilt(Wire.REFUSED, 8, POLICE),
        Bounds(delivery=5.0, exempt=frozenset({POLICE})),
        rate=20,
    ),
    Fault(
        "F7b",
        "120 down for 8 s, 110 up",
        ONE_BROKER,
        spoilt(Wire.REFUSED, 8, AMBULANCE),
        Bounds(delivery=5.0, exempt=frozenset({AMBULANCE})),
        rate=20,
    ),
    Fault(
        "F7c",
        "both have it, their acknowledgement lost for 8 s",
        ONE_BROKER,
        spoilt(Wire.CUT_BEFORE_REPLY, 8, POLICE, AMBULANCE),
        Bounds(delivery=5.0),
        rate=20,
    ),
)
