"""After a fault: how long until what lay in outboxes and before consumers is worked off."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.system import SERVICES
from services.auditor.followed_events import TOPICS
from shared.kernel.log.consumer import FOLLOWS
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import open_reader

LOOK_EVERY = 0.5
HOP_WITHIN = 20.0
"""Seconds; then it is looked at anew."""

HOPS = 4
"""From intake over risk and dispatch to the adapter: so often does what waited become something that waits."""

GROUPS = tuple(name + suffix for name in SERVICES for suffix in ("", FOLLOWS))


async def seconds_until(so: Callable[[], Awaitable[bool]], since: float, within: float) -> float | None:
    """Seconds on the loop's clock from `since` until it is so; None if it is not within so many."""
    clock = asyncio.get_running_loop().time
    while not await so():
        if clock() - since > within:
            return None
        await asyncio.sleep(LOOK_EVERY)
    return clock() - since


async def equal(state: Path, kafka: str) -> bool:
    """Whether Valkey holds exactly what Kafka tells, by hash."""
    return (await jingyi(state, kafka, "rebuild", "--check"))[0] == 0


async def accounted(state: Path, kafka: str) -> bool:
    """Whether `jingyi audit` knows of every escalation who has it."""
    return (await jingyi(state, kafka, "audit", "--since", "1h"))[0] == 0


async def jingyi(state: Path, kafka: str, *words: str) -> tuple[int, str]:
    """A command on this system: its exit code and what it said."""
    command = (sys.executable, "-m", "deploy.cli.main", *words, "--json", "--state", str(state))
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "JINGYI_KAFKA": kafka},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        stdin=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


@dataclass
class Draining:
    """Whether what lay there is worked off: each hop's outboxes as they stand, then what Kafka has by then.

    What comes in meanwhile, and deadlines never rest, is not waited for.
    """

    redis_url: str
    kafka: str
    hops: int = HOPS

    async def over(self) -> bool:
        """Look at one hop after the other."""
        with suppress(RedisError, KafkaError, OSError, TimeoutError):
            while self.hops:
                async with asyncio.timeout(HOP_WITHIN):
                    await self._sent()
                    await self._heard()
                self.hops -= 1
        return not self.hops

    async def _sent(self) -> None:
        redis: Any = Redis.from_url(self.redis_url, socket_timeout=3)
        try:
            outboxes = [key async for key in redis.scan_iter(match="*:outbox", count=10_000)]
            newest = [(key, row[0]) for key in outboxes for row in await redis.xrevrange(key, count=1)]
            for key, last in newest:
                while await redis.xrange(key, max=last, count=1):
                    await asyncio.sleep(LOOK_EVERY)
        finally:
            await redis.aclose()

    async def _heard(self) -> None:
        async with open_reader(KafkaBus(self.kafka), *TOPICS) as (_, ends):
            admin = KafkaBus(self.kafka).admin()
        await admin.start()
        try:
            while any([await _behind(admin, group, ends) for group in GROUPS]):
                await asyncio.sleep(LOOK_EVERY)
        finally:
            await admin.close()


async def _behind(admin: Any, group: str, ends: dict[Any, int]) -> bool:
    committed = await admin.list_consumer_group_offsets(group)
    return any(0 <= at.offset < ends.get(partition, 0) for partition, at in committed.items())
