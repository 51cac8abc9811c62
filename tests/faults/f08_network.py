"""F8: between services, Valkey and Kafka: silence on open connections, three seconds of latency, one byte at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from deploy.local.system import SERVICES
from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.proxy import Wire
from tests.faults.shapes import WIRED

STOOD_STILL = 0.25
"""Seconds for which no event loop may stand still, whatever its connections do."""


def spoilt(
    how: Wire, seconds: float, *wires: str, latency: float = 0.0, accepting: bool = False
) -> Callable[[Scene], Awaitable[None]]:
    """`accepting`: seats must not notice it."""

    async def inflict(scene: Scene) -> None:
        scene.stage.forget_lags()
        began = time.time()
        await scene.stage.spoil(how, seconds, *wires, latency=latency)
        if accepting:
            scene.accepted(began, "it is so")
        await asyncio.sleep(2)
        lags = {service: scene.stage.lag(service) for service in SERVICES}
        slowest = max(lags, key=lambda service: lags[service])
        scene.probe(f"loop of {slowest} stood still", lags[slowest], STOOD_STILL)

    return inflict


ALL_VALKEY = tuple(f"valkey of {service}" for service in SERVICES)

FAULTS = (
    Fault(
        "F8a",
        "dispatch and Valkey half-open for 10 s",
        WIRED,
        spoilt(Wire.HALF_OPEN, 10, "valkey of dispatch"),
        Bounds(delivery=20.0),
        rate=12,
    ),
    Fault(
        "F8b",
        "all services and Valkey half-open for 9 s",
        WIRED,
        spoilt(Wire.HALF_OPEN, 9, *ALL_VALKEY),
        Bounds(alarm=10.0),
        rate=12,
    ),
    Fault(
        "F8c",
        "all services and Kafka half-open for 9 s",
        WIRED,
        spoilt(Wire.HALF_OPEN, 9, "kafka", accepting=True),
        Bounds(alarm=10.0, delivery=5.0),
        rate=12,
    ),
    Fault(
        "F8d",
        "3 s of latency between all services and Kafka, 10 s",
        WIRED,
        spoilt(Wire.LATENCY, 10, "kafka", latency=3.0),
        Bounds(delivery=5.0),
        rate=12,
    ),
    Fault(
        "F8e",
        "adapter and Valkey in 1-byte slices, 8 s",
        WIRED,
        spoilt(Wire.SLICED, 8, "valkey of responder_adapter"),
        Bounds(delivery=5.0),
        rate=2,
    ),
)
