"""F15: the store is there and refuses: it has no memory left, is another's replica, or no longer lets us write."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.logs import SPOKEN, lines, moment
from tests.faults.shapes import ONE_BROKER

FOR = 20.0
"""Seconds."""

MESSAGES = 3.0
"""About one case in that time: a ring is repeated after half a minute."""


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
            began = time.time()
            await redis.execute_command(*refusal.begin)
            await asyncio.sleep(seconds)
            scene.probe("most messages outside about one case", float(most_messages(scene, began)), MESSAGES)
            await redis.execute_command(*refusal.end)
            scene.note(f"{refusal.code}: {await refused(redis, refusal.code) - before} commands refused")

    return inflict


def most_messages(scene: Scene, since: float) -> int:
    """How often people outside were told to phone about the case of which they were told most often."""
    told = lines(scene.stage.running.state / "channel" / "log.jsonl")
    ringing = (line["words"] for line in told if moment(line) > since and "phone now" in line["words"])
    numbers = Counter(number for words in ringing for number in SPOKEN.findall(words))
    return max(numbers.values(), default=0)


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
