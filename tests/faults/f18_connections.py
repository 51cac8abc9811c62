"""F18: a stranger opens more connections to intake than it has descriptors, says nothing, and comes again when cut off.

Seats that open connections of their own meanwhile must not notice.
"""

import asyncio
import resource
from contextlib import suppress
from urllib.parse import urlsplit

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import WIRED

SILENT = 1100
STRANGER = "127.0.0.2"
SETTLED = 4.0
FOR, AGAIN_AFTER = 20.0, 5.0
"""Seconds."""

NEW_SEATS = 6.0
"""Acts a second of seats that open a connection for each."""


async def silent(scene: Scene, seconds: float = FOR) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the suite is the stranger
    door = urlsplit(scene.stage.running.urls["hotline_intake"])
    opened = [0]
    held = [asyncio.create_task(hold(door.hostname or "", door.port or 0, opened)) for _ in range(SILENT)]
    try:
        await asyncio.sleep(SETTLED)
        async with scene.new_seats(NEW_SEATS):
            await asyncio.sleep(seconds)
    finally:
        for one in held:
            one.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    scene.note(f"{opened[0]} silent connections by {SILENT} at a time; intake may have {scene.stage.shape.descriptors}")


async def hold(host: str, port: int, opened: list[int]) -> None:
    """One of them, for ever: opened again a while after it was cut off."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port, local_addr=(STRANGER, 0))
            opened[0] += 1
            try:
                await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(AGAIN_AFTER)


FAULTS = (
    Fault(
        "F18",
        f"{SILENT} silent connections at intake",
        WIRED,
        silent,
        Bounds(delivery=5.0, first_try=True),
        rate=8,
    ),
)
