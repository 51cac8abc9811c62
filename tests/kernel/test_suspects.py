"""After an end that was no stop: what nobody accuses is heard side by side, what bears a count is heard alone."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from shared.kernel.errors import Malformed
from shared.kernel.log.suspects import CRASHES, CrashSuspects
from shared.kernel.machine.store import Store
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.process.settings import Settings


@dataclass(frozen=True)
class Record:
    offset: int
    topic: str = "hotline.calls"
    partition: int = 0


@dataclass
class Counts:
    """As much of a store as suspects need."""

    kept: dict[str, int] = field(default_factory=dict)

    async def ask(self, command: str, _: str, where: str, *count: int) -> Any:
        await asyncio.sleep(0)
        if command == "HSET":
            self.kept[where] = count[0]
        return self.kept.pop(where, None) if command == "HDEL" else self.kept.get(where)


@dataclass
class Heard:
    """How many were in work at once, at the most, while each record was."""

    suspects: CrashSuspects
    now: set[int] = field(default_factory=set)
    beside: dict[int, int] = field(default_factory=dict)

    async def hear(self, offset: int) -> None:
        async with self.suspects.counted_attempt(cast(Any, Record(offset))):
            self.now.add(offset)
            for _ in range(50):
                await asyncio.sleep(0)
                for each in self.now:
                    self.beside[each] = max(self.beside.get(each, 0), len(self.now))
            self.now.discard(offset)


async def test_an_accused_record_is_heard_alone_and_the_queue_of_a_killed_service_side_by_side() -> None:
    counts = Counts({"hotline.calls/0/5": 1})
    heard = Heard(CrashSuspects("dispatch", cast(Store, counts)))
    await asyncio.gather(*(heard.hear(offset) for offset in range(100)))
    assert heard.beside[5] == 1
    assert max(heard.beside.values()) > 10
    assert counts.kept == {}


async def test_t2_a_partition_that_is_taken_away_before_its_records_came_stays_suspected(settings: Settings) -> None:
    there = TopicPartition("hotline.calls", 0)
    store = ValkeyStore(settings.redis_url, lambda *_: None)
    work = asyncio.create_task(store.run())
    await CrashSuspects("dispatch", store).mark_assigned([there])  # and its process ends
    after = CrashSuspects("dispatch", store)
    for _ in range(2):  # a rebalance follows at once
        await after.mark_assigned([there])
        await after.mark_released([there])
    await after.mark_assigned([there])
    assert after.careful_until(there, 7) == 7
    await after.mark_released([there])
    await after.mark_assigned([there])
    assert after.careful_until(there, 7) == 0
    work.cancel()
    await asyncio.wait([work])


async def test_a_record_in_work_at_too_many_ends_is_put_aside_and_forgotten() -> None:
    counts = Counts({"hotline.calls/0/5": CRASHES - 1})
    with pytest.raises(Malformed):
        await Heard(CrashSuspects("dispatch", cast(Store, counts))).hear(5)


async def test_t2_who_waits_beside_a_crash_is_not_suspected_of_it() -> None:
    counts = Counts({"hotline.calls/0/5": 1, "hotline.calls/0/6": 1})
    suspects = CrashSuspects("dispatch", cast(Store, counts))

    async def crash() -> None:
        async with suspects.counted_attempt(cast(Any, Record(5))):
            await asyncio.sleep(0.01)
            raise RuntimeError

    waits = asyncio.create_task(crash()), asyncio.create_task(Heard(suspects).hear(6))
    await asyncio.wait(waits, timeout=0.1)
    assert counts.kept == {"hotline.calls/0/5": 2, "hotline.calls/0/6": 1}
    waits[1].cancel()
    await asyncio.gather(*waits, return_exceptions=True)
