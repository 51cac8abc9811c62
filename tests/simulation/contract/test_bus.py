"""What the kernel relies on in Kafka, held by the real broker and by the simulated one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError

HEADERS = [("ce_id", b"1"), ("ce_type", b"cn.jingyi.Said")]


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Writes down what a member gets and gives back."""

    def __init__(self) -> None:
        self.has: set[Any] = set()
        self.gave = 0

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self.has -= set(revoked)
        self.gave += 1

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        self.has |= set(assigned)


@asynccontextmanager
async def member(bus: Any, group: str) -> AsyncIterator[tuple[Any, Listener]]:
    consumer, listener = bus.consumer(group), Listener()
    await consumer.start()
    consumer.subscribe(["promised"], listener=listener)
    try:
        yield consumer, listener
    finally:
        await consumer.stop()


async def says(bus: Any, key: str, *values: bytes) -> None:
    producer = bus.producer()
    await producer.start()
    for value in values:
        await (await producer.send("promised", value=value, key=key.encode(), headers=HEADERS))
    await producer.stop()


async def hears(consumer: Any, key: str, count: int, within: float = 20) -> list[Any]:
    """The next records under a key; those of other tests are passed over."""
    found: list[Any] = []
    async with asyncio.timeout(within):
        while len(found) < count:
            batches = await consumer.getmany(timeout_ms=200)
            found += [r for records in batches.values() for r in records if r.key == key.encode()]
    return found


async def test_a_key_is_an_order_and_a_record_arrives_as_it_was_sent(brokers: Any, group: str) -> None:
    key = str(uuid4())
    await says(brokers, key, *(b"%d" % n for n in range(5)))
    async with member(brokers, group) as (consumer, _):
        records = await hears(consumer, key, 5)
    assert [record.value for record in records] == [b"0", b"1", b"2", b"3", b"4"]
    assert {(record.topic, record.partition) for record in records} == {("promised", records[0].partition)}
    assert list(records[0].headers) == HEADERS
    assert [r.offset - records[0].offset for r in records] == [0, 1, 2, 3, 4]


async def test_what_was_not_committed_comes_again_and_what_was_does_not(brokers: Any, group: str) -> None:
    key = str(uuid4())
    await says(brokers, key, b"0", b"1")
    async with member(brokers, group) as (consumer, _):
        first, _ = await hears(consumer, key, 2)
        [partition] = [p for p in consumer.assignment() if p.partition == first.partition]
        await consumer.commit({partition: first.offset + 1})
    async with member(brokers, group) as (consumer, _):
        assert [record.value for record in await hears(consumer, key, 1)] == [b"1"]


async def test_a_group_shares_the_partitions_and_who_stays_gets_those_of_who_leaves(brokers: Any, group: str) -> None:
    async def polled(consumer: Any, until: asyncio.Event) -> None:
        while not until.is_set():
            await consumer.getmany(timeout_ms=100)

    done = asyncio.Event()
    async with member(brokers, group) as (stays, one), asyncio.TaskGroup() as polling:
        polling.create_task(polled(stays, done))
        await so(lambda: len(one.has) == 12)
        async with member(brokers, group) as (_, other):
            await so(lambda: len(one.has) == len(other.has) == 6 and not one.has & other.has)
            assert one.gave >= 1
            with pytest.raises((CommitFailedError, IllegalStateError)):
                await stays.commit({next(iter(other.has)): 0})
        await so(lambda: len(one.has) == 12)
        done.set()


async def test_a_paused_partition_is_silent_and_knows_how_much_lies_there(brokers: Any, group: str) -> None:
    key = str(uuid4())
    await says(brokers, key, b"0")
    async with member(brokers, group) as (consumer, _):
        [record] = await hears(consumer, key, 1)
        [partition] = [p for p in consumer.assignment() if p.partition == record.partition]
        consumer.pause(*consumer.assignment())
        await says(brokers, key, b"1")
        assert not await consumer.getmany(timeout_ms=500)
        assert (await consumer.end_offsets([partition]))[partition] == record.offset + 2
        assert await consumer.position(partition) == record.offset + 1
        consumer.resume(*consumer.paused())
        assert [record.value for record in await hears(consumer, key, 1)] == [b"1"]
        assert consumer.highwater(partition) == record.offset + 2


async def test_a_member_goes_back_to_a_moment(brokers: Any, group: str) -> None:
    key = str(uuid4())
    await says(brokers, key, b"0")
    await asyncio.sleep(0.05)
    await says(brokers, key, b"1")
    async with member(brokers, group) as (consumer, _):
        _, second = await hears(consumer, key, 2)
        [partition] = [p for p in consumer.assignment() if p.partition == second.partition]
        found = await consumer.offsets_for_times({partition: second.timestamp})
        consumer.seek(partition, found[partition].offset)
        assert [record.value for record in await hears(consumer, key, 1)] == [b"1"]


async def test_a_reader_reads_everything_there_is(brokers: Any) -> None:
    key = str(uuid4())
    await says(brokers, key, b"0", b"1")
    reader = brokers.reader("promised")
    await reader.start()
    assert [record.value for record in await hears(reader, key, 2)] == [b"0", b"1"]
    await reader.stop()


async def so(true: Any, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.05)
