"""F17: in each service that has deadlines an instance at whose deadline its machine fails: it alone is set aside.

It stays until a person takes it away; meanwhile every list that people and the auditor work by is there.
"""

import asyncio
import time
from dataclasses import dataclass
from uuid import UUID

import httpx
from redis.asyncio import Redis
from uuid_utils import uuid7

from shared.contract.callouts import CallOutEvent
from shared.contract.calls import CallEvent
from shared.contract.event import Event
from shared.contract.incidents import IncidentEvent
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import header_text, open_reader, read_records
from shared.kernel.machine.shards import shard_of
from tests.faults.fault import Fault, Scene
from tests.faults.healing import LOOK_EVERY, seconds_until
from tests.faults.invariants import Bounds
from tests.faults.logs import CITY
from tests.faults.programs import POLICE
from tests.faults.shapes import ONE_BROKER

SET_ASIDE_WITHIN, STAYS = 15.0, 8.0
"""Seconds."""

LISTS = (("hotline_intake", "alarms"), ("dispatch", "incidents"), ("responder_adapter", "tasks"))
"""What people look at, by city."""

NO_STATE = b'{"status": "such as no version of the product ever wrote"'


@dataclass(frozen=True)
class Poison:
    """An instance of a machine, of a case of its own, as the store has it."""

    service: str
    machine: str
    instance: str
    says: type[Event]

    @property
    def name(self) -> str:
        return f"{shard_of(CITY)}:{self.service}:{self.machine}:{CITY}:{self.instance}"

    @property
    def due(self) -> str:
        return f"{shard_of(CITY)}:{self.service}:due"

    @property
    def listed(self) -> str:
        return f"{shard_of(CITY)}:{self.service}:{self.machine}:{CITY}:listed"

    @property
    def member(self) -> str:
        return f"{self.machine}|{CITY}|{CITY}|{self.instance}"

    @property
    def origin(self) -> str:
        return f"{self.machine}/{self.instance}"

    async def lay(self, redis: Redis) -> None:
        """Kept, on the list of what is open, and due now."""
        moment = time.time() * 1000
        await redis.hset(self.name, mapping={"v": 1, "s": NO_STATE, "d": 0})
        await redis.zadd(self.listed, {self.instance: moment})
        await redis.zadd(self.due, {self.member: moment})

    async def take_away(self, redis: Redis) -> None:
        await redis.delete(self.name)
        await redis.zrem(self.listed, self.instance)
        await redis.zrem(self.due, self.member)


def poisons() -> tuple[Poison, ...]:
    case = UUID(bytes=uuid7().bytes)
    return (
        Poison("hotline_intake", "call", f"{case}", CallEvent),
        Poison("dispatch", "incident", f"{case}", IncidentEvent),
        Poison("responder_adapter", "callout", f"{case}/{POLICE}/1", CallOutEvent),
    )


async def poisoned(scene: Scene) -> None:
    """Taken away by hand in the end: no log tells of it."""
    laid, bus, clock = poisons(), KafkaBus(scene.stage.kafka), asyncio.get_running_loop().time
    standings, topics = scene.stage.running.supervisor.standings, [f"{one.says.topic}.dlq" for one in laid]
    lives = {one.service: standings[one.service].restarts for one in laid}
    async with Redis.from_url(scene.stage.running.redis_url) as redis:
        for one in laid:
            await one.lay(redis)

        async def set_aside() -> bool:
            return set(await failed(bus, topics)) >= {one.origin for one in laid}

        took = await seconds_until(set_aside, clock(), SET_ASIDE_WITHIN)
        scene.probe("each set aside", took, SET_ASIDE_WITHIN)
        scene.probe("looks at a list that failed", float(await failed_looks(scene, STAYS)), 0.0)
        for one in laid:
            await one.take_away(redis)
    origins = await failed(bus, topics)
    scene.probe("set aside more than once", float(sum(origins.count(one.origin) - 1 for one in laid)), 0.0)
    died = sum(standings[service].restarts - before for service, before in lives.items())
    scene.probe("services that ended of it", float(died), 0.0)
    scene.note(f"one instance each of {', '.join(one.machine for one in laid)}")


async def failed_looks(scene: Scene, seconds: float) -> int:
    """How often a list was not to be had, looked at twice a second for so long."""
    where, clock = scene.stage.where, asyncio.get_running_loop().time
    headers = {"authorization": f"Bearer {where.token}", "x-actor": "supervisor-2"}
    count, until = 0, clock() + seconds
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=5) as client:
        while clock() < until:
            for service, name in LISTS:
                count += not await there(client, f"{where.urls[service]}/cities/{CITY}/{name}")
            await asyncio.sleep(LOOK_EVERY)
    return count


async def there(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


async def failed(bus: KafkaBus, topics: list[str]) -> list[str | None]:
    """Which instances were set aside at their deadline."""
    async with open_reader(bus, *topics) as (reader, ends):
        return [
            header_text(record, "dead_letter_origin")
            async for record in read_records(reader, ends)
            if header_text(record, "dead_letter_reason") == "deadline"
        ]


FAULTS = (
    Fault(
        "F17",
        "a machine that fails at a deadline",
        ONE_BROKER,
        poisoned,
        Bounds(delivery=5.0, first_try=True),
        rate=15,
    ),
)
