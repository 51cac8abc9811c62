"""F15: the store is there and refuses: it has no memory left, is another's replica, or no longer lets us write."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import ONE_BROKER

FOR = 20.0
"""Seconds."""


@dataclass(frozen=True)
class Refusal:
    """What makes the store refuse with this code, and what has it take everything again."""

    code: str
    begin: tuple[str | int, ...]
    end: tuple[str | int, ...]


OOM = Refusal("OOM", ("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0))
READONLY = Refusal("READONLY", ("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE"))
NOPERM = Refusal("NOPERM", ("ACL", "SETUSER", "default", "-@write"), ("ACL", "SETUSER", "default", "+@all"))
REFUSALS = (OOM, READONLY, NOPERM)


def refusing(refusal: Refusal, seconds: float = FOR) -> Callable[[Scene], Awaitable[None]]:
    """The store answers at once, and takes nothing."""

    async def inflict(scene: Scene) -> None:
        redis: Any
        async with Redis.from_url(scene.stage.running.redis_url) as redis:
            before = await refused(redis, refusal.code)
            await redis.execute_command(*refusal.begin)
            await asyncio.sleep(seconds)
            await redis.execute_command(*refusal.end)
            scene.note(f"{refusal.code}: {await refused(redis, refusal.code) - before} commands refused")

    return inflict


async def refused(redis: Any, code: str) -> int:
    """How often the store has refused with this code."""
    found = await redis.info("errorstats")
    return int(found.get(f"errorstat_{code}", {}).get("count", 0))


FAULTS = tuple(
    Fault(name, words, ONE_BROKER, refusing(refusal), Bounds(alarm=10.0, first_try=True), rate=12)
    for name, words, refusal in (
        ("F15a", f"the store out of memory for {FOR:.0f} s", OOM),
        ("F15b", f"the store a replica of nobody for {FOR:.0f} s", READONLY),
        ("F15c", f"the store lets us write nothing for {FOR:.0f} s", NOPERM),
    )
)
