"""After a fault: how long until nothing waits in an outbox and no consumer is behind."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.system import SERVICES
from shared.kernel.bus import Bus
from shared.kernel.consumer import FOLLOWS

LOOK_EVERY = 0.5
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


async def drained(redis_url: str, kafka: str) -> bool:
    """Whether the outboxes are empty and every group has committed everything."""
    with suppress(RedisError, KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(10):
            return await waiting(redis_url) == 0 and await behind(kafka) == 0
    return False


async def waiting(redis_url: str) -> int:
    """Rows in all outboxes."""
    redis = Redis.from_url(redis_url, socket_timeout=3)
    try:
        outboxes = [key async for key in redis.scan_iter(match="*:outbox", count=10_000)]
        return sum([int(await redis.xlen(key)) for key in outboxes])
    finally:
        await redis.aclose()


async def behind(kafka: str) -> int:
    """Records that some group has not committed yet."""
    bus = Bus(kafka)
    admin = bus.admin()
    await admin.start()
    try:
        committed = [await admin.list_consumer_group_offsets(group) for group in GROUPS]
    finally:
        await admin.close()
    wanted = {partition for offsets in committed for partition in offsets}
    reader = bus.reader(*sorted({partition.topic for partition in wanted}))
    await reader.start()
    try:
        ends = await reader.end_offsets(list(wanted))
    finally:
        await reader.stop()
    return sum(max(0, ends[p] - at.offset) for offsets in committed for p, at in offsets.items() if at.offset >= 0)
