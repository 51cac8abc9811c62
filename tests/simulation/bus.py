"""A simulated Kafka: twelve partitions a topic, groups with offsets and rebalances, and brokers that may be away.

What it promises is what the kernel relies on: a partition is an order, an acknowledged record stays, an offset is where
a group goes on. What it does not promise it breaks: an acknowledgement gets lost after the record was taken, a group is
rebalanced at any moment, and records above the committed offset come again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndTimestamp, TopicPartition

from tests.simulation.loop import LIFE, Life
from tests.simulation.store import OUTSIDE

PARTITIONS = 12
SESSION, REBALANCE, PATIENCE = 6.0, 3.0, 0.15
"""Seconds, as shared/kernel/log/kafka.py sets them."""

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a partition."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    at: float = 0.0

    @property
    def timestamp(self) -> int:
        """Milliseconds."""
        return int(self.at * 1000)

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.headers if key == name), None)


@dataclass
class Way:
    """How the way to the brokers is now. `away`: they are gone. `slow`: seconds added each way.

    `lost`: share of records whose acknowledgement never comes although they were taken.
    """

    random: Random
    away: bool = False
    slow: float = 0.0
    lost: float = 0.0

    def delay(self) -> float:
        return 0.0005 + self.random.random() * 0.004 + self.slow


@dataclass
class Group:
    """Who hears together, and how far they are."""

    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    members: "list[Listener]" = field(default_factory=list)
    generation: int = 0


class Kafka:
    """The brokers: what they hold outlives every process and every outage."""

    def __init__(self, loop: asyncio.AbstractEventLoop, way: Way, written: Callable[[Record], None]) -> None:
        self.loop = loop
        self.way = way
        self.logs: dict[str, list[list[Record]]] = defaultdict(lambda: [[] for _ in range(PARTITIONS)])
        self.groups: dict[str, Group] = defaultdict(Group)
        self._written = written
        self.taken = 0
        self._fetching: list[tuple[Collection[str], asyncio.Future[None]]] = []

    def bus(self, _: str, member: str | None = None) -> "Bus":
        """A process with a name of its own has no easier life here: it may find itself forgotten, too."""
        return Bus(self)

    def records(self, *topics: str) -> list[Record]:
        """All that these topics hold, a partition after the other."""
        return [record for topic in topics or sorted(self.logs) for log in self.logs[topic] for record in log]

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Iterable[Header]) -> Record:
        """Take a record for ever."""
        partition = crc32(key or b"") % PARTITIONS
        log = self.logs[topic][partition]
        record = Record(topic, partition, len(log), key, value, tuple(headers), self.loop.time())
        log.append(record)
        self.taken += 1
        self._written(record)
        self._tell(topic)
        return record

    def heal(self) -> None:
        """The brokers are there again."""
        self.way.away = False
        self._tell()

    def rebalance(self, name: str) -> None:
        """Everybody of a group gives its partitions back and gets some anew."""
        group = self.groups[name]
        group.generation += 1
        for member in group.members:
            member.rejoin()
        self._tell()

    async def news(self, topics: Collection[str], within: float) -> None:
        """Return when something was written to one of these, or a group changed, or time is up."""
        waiting = self.loop.create_future()
        self._fetching.append((topics, waiting))
        timer = self.loop.call_later(within, _let_go, waiting)
        try:
            await waiting
        finally:
            timer.cancel()

    def _tell(self, about: str | None = None) -> None:
        fetching, self._fetching = self._fetching, []
        for topics, waiting in fetching:
            if about is None or about in topics:
                self.loop.call_later(self.way.delay(), _let_go, waiting, context=OUTSIDE)
            elif not waiting.done():
                self._fetching.append((topics, waiting))


def _let_go(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


@dataclass(frozen=True)
class Bus:
    """What a service is given instead of `shared.kernel.log.kafka.KafkaBus`."""

    kafka: Kafka
    brokers: str = "simulated"

    def producer(self) -> "Speaker":
        return Speaker(self.kafka)

    def consumer(self, group: str, *, patient: bool = False) -> "Listener":
        return Listener(self.kafka, group, patient)

    def reader(self, *topics: str, patient: bool = False) -> "Reader":
        return Reader(self.kafka, topics)

    def admin(self) -> "Admin":
        return Admin(self.kafka)


async def _connect(kafka: Kafka) -> None:
    await asyncio.sleep(kafka.way.delay())
    if kafka.way.away:
        await asyncio.sleep(1)
        raise KafkaConnectionError("Unable to bootstrap from simulated")


class Speaker:
    """A producer: idempotent in its own life, patient without end while the brokers are away."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._life = LIFE.get()
        self._last: dict[str, float] = {}
        self._waiting: dict[asyncio.Future[Record], None] = {}
        self._closed = False
        # What `stop_producer` shuts when stop() does not return: the real one's sender, queue and client; here, itself.
        self._sender = self._message_accumulator = self.client = self

    async def start(self) -> None:
        await _connect(self._kafka)

    async def close(self) -> None:
        """What has not reached the brokers yet never will."""
        self._closed = True

    def fail_all(self, failure: Exception) -> None:
        """Whoever waits for an acknowledgement hears that none will come."""
        for acknowledged in list(self._waiting):
            if not acknowledged.done():
                acknowledged.set_exception(failure)
                acknowledged.exception()

    async def stop(self) -> None:
        """Flush; this may never return while the brokers are away."""
        while any(not acknowledged.done() for acknowledged in self._waiting):
            await asyncio.sleep(0.1)

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, headers: Iterable[Header] = ()
    ) -> "asyncio.Future[Record]":
        """Put it in the queue; the future ends when every replica has it."""
        loop, way = self._kafka.loop, self._kafka.way
        acknowledged: asyncio.Future[Record] = loop.create_future()
        self._waiting[acknowledged] = None
        acknowledged.add_done_callback(self._waiting.pop)
        self._last[topic] = at = max(self._last.get(topic, 0.0), loop.time() + way.delay())
        told = (topic, key, value, tuple(headers))
        loop.call_at(at, self._arrive, told, acknowledged, context=OUTSIDE)
        return acknowledged

    async def send_and_wait(self, topic: str, value: bytes | None = None, **more: Any) -> Record:
        return await (await self.send(topic, value, **more))

    def _arrive(self, told: tuple[str, bytes | None, bytes | None, tuple[Header, ...]], acknowledged: Any) -> None:
        loop, way = self._kafka.loop, self._kafka.way
        if way.away:
            if not self._closed and (self._life is None or not self._life.dead):
                # Everything sent later arrives later: the queue keeps its order.
                self._last[told[0]] = max(self._last[told[0]], loop.time() + 0.2)
                loop.call_later(0.2, self._arrive, told, acknowledged, context=OUTSIDE)
            return
        record = self._kafka.append(*told)
        if way.lost and way.random.random() < way.lost:
            loop.call_later(3.0, _fail, acknowledged, context=OUTSIDE)
        else:
            loop.call_later(way.delay(), _acknowledge, acknowledged, record, context=OUTSIDE)


def _acknowledge(acknowledged: "asyncio.Future[Record]", record: Record) -> None:
    if not acknowledged.done():
        acknowledged.set_result(record)


def _fail(acknowledged: "asyncio.Future[Record]") -> None:
    if not acknowledged.done():
        acknowledged.set_exception(RequestTimedOutError())
        acknowledged.exception()


class Listener:
    """A group member, as far as `Consumer` uses an AIOKafkaConsumer."""

    def __init__(self, kafka: Kafka, group: str, patient: bool) -> None:
        self._kafka = kafka
        self._name = group
        self._patient = patient
        self.topics: tuple[str, ...] = ()
        self._listener: Any = None
        self._assigned: tuple[TopicPartition, ...] = ()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._nothing_at = -1  # how much Kafka had taken when there was nothing to hear from our positions
        self._generation = -1
        self._joining: asyncio.Task[None] | None = None
        self._stopped = False
        self.life: Life | None = LIFE.get()

    @property
    def _group(self) -> Group:
        return self._kafka.groups[self._name]

    @property
    def gone(self) -> bool:
        """Whether its process has ended without leaving the group."""
        return self.life is not None and self.life.dead

    async def start(self) -> None:
        await _connect(self._kafka)

    def subscribe(self, topics: Iterable[str], listener: Any) -> None:
        self.topics, self._listener = tuple(topics), listener
        self._group.members.append(self)
        waits = REBALANCE * self._kafka.way.random.random() if any(m.gone for m in self._group.members) else 0.05
        self._kafka.loop.call_later(waits, self._joined, context=OUTSIDE)

    def _joined(self) -> None:
        group = self._group
        group.members = [member for member in group.members if not member.gone]
        if not self._stopped and not self.gone:
            self._kafka.rebalance(self._name)

    def rejoin(self) -> None:
        """The group changed: give back and get anew, as a task of this member's own process."""
        if self._joining is None or self._joining.done():
            context = self.life.context() if self.life else None
            self._joining = self._kafka.loop.create_task(self._rejoin(), context=context)

    async def _rejoin(self) -> None:
        while self._generation != self._group.generation and not self._stopped:
            generation = self._group.generation
            if self._assigned:
                await self._listener.on_partitions_revoked(self._assigned)
            self._assigned, self._positions, self._paused = (), {}, set()
            await asyncio.sleep(self._kafka.way.delay())
            if self._kafka.way.away:
                await asyncio.sleep(0.5)
                continue
            self._generation = generation
            if generation == self._group.generation:
                self._assigned = self._share()
                await self._listener.on_partitions_assigned(self._assigned)
                self._positions = {each: self._group.offsets.get(each, 0) for each in self._assigned}
                self._nothing_at = -1

    def _share(self) -> tuple[TopicPartition, ...]:
        members = self._group.members
        mine, size = members.index(self), len(members)
        every = (TopicPartition(topic, partition) for topic in self.topics for partition in range(PARTITIONS))
        return tuple(each for each in every if each.partition % size == mine)

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        """What came, or nothing after the time-out."""
        loop = self._kafka.loop
        until = loop.time() + timeout_ms / 1000
        while True:
            if self._patient and self._ready():
                await asyncio.sleep(PATIENCE)
            if found := self._ready():
                for partition, records in found.items():
                    self._positions[partition] = records[-1].offset + 1
                return found
            if loop.time() >= until - 1e-9:
                return {}
            await self._kafka.news(self.topics, until - loop.time())

    def _ready(self) -> dict[TopicPartition, list[Record]]:
        if self._kafka.way.away or self._nothing_at == self._kafka.taken:
            return {}
        positions, logs = self._positions, self._kafka.logs
        ahead = ((each, logs[each[0]][each[1]], at) for each, at in positions.items())
        found = {each: log[at : at + 500] for each, log, at in ahead if len(log) > at and each not in self._paused}
        if not found:
            self._nothing_at = self._kafka.taken
        return found

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Raises what the real one raises when the group has moved on, or nobody answers."""
        await asyncio.sleep(self._kafka.way.delay())
        if self._kafka.way.away:
            await asyncio.sleep(3)
            raise RequestTimedOutError
        if self._generation != self._group.generation:
            raise CommitFailedError
        if any(each not in self._assigned for each in offsets):
            raise IllegalStateError(f"Partition {next(iter(offsets))} is not assigned")
        self._group.offsets.update(offsets)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Raises what the real one raises when nobody answers."""
        await asyncio.sleep(self._kafka.way.delay())
        if self._kafka.way.away:
            await asyncio.sleep(3)
            raise RequestTimedOutError
        return {each: self.highwater(each) for each in partitions}

    async def position(self, partition: TopicPartition) -> int:
        """Raises IllegalStateError for what is not assigned."""
        if partition not in self._positions:
            raise IllegalStateError(f"Partition {partition} is not assigned")
        return self._positions[partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Raises IllegalStateError for what is not assigned."""
        if partition not in self._positions:
            raise IllegalStateError(f"Partition {partition} is not assigned")
        self._positions[partition], self._nothing_at = offset, -1

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """Raises what the real one raises when nobody answers."""
        await self.end_offsets(times)
        logs = ((each, self._kafka.logs[each.topic][each.partition], at) for each, at in times.items())
        since = {each: next((r for r in log if r.timestamp >= at), None) for each, log, at in logs}
        return {each: r and OffsetAndTimestamp(r.offset, r.timestamp) for each, r in since.items()}

    def highwater(self, partition: TopicPartition) -> int:
        return len(self._kafka.logs[partition.topic][partition.partition])

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._assigned)

    def paused(self) -> frozenset[TopicPartition]:
        return frozenset(self._paused)

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)
        self._nothing_at = -1

    async def stop(self) -> None:
        """Leave the group."""
        self._stopped = True
        if self in self._group.members:
            self._group.members.remove(self)
            self._kafka.rebalance(self._name)


class Reader:
    """Whole topics, outside any group."""

    def __init__(self, kafka: Kafka, topics: Iterable[str]) -> None:
        self._kafka = kafka
        self._positions = {TopicPartition(topic, p): 0 for topic in topics for p in range(PARTITIONS)}

    async def start(self) -> None:
        await _connect(self._kafka)

    async def stop(self) -> None:
        """Nothing to give back."""

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    def partitions_for_topic(self, _: str) -> set[int]:
        return set(range(PARTITIONS))

    def unsubscribe(self) -> None:
        self._positions.clear()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        self._positions.update(dict.fromkeys(partitions or list(self._positions), 0))

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """Of the first record since then: no record is older than a run."""
        logs = self._kafka.logs
        return {
            each: OffsetAndTimestamp(0, at) if logs[each.topic][each.partition] else None for each, at in times.items()
        }

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: len(self._kafka.logs[each.topic][each.partition]) for each in partitions}

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    async def getmany(self, timeout_ms: int, max_records: int = 500) -> dict[TopicPartition, list[Record]]:
        """What came since, or nothing after the time-out."""
        if not (found := self._new()):
            await self._kafka.news({each.topic for each in self._positions}, timeout_ms / 1000)
            found = self._new()
        self._positions.update({each: records[-1].offset + 1 for each, records in found.items()})
        return found

    def _new(self) -> dict[TopicPartition, list[Record]]:
        if self._kafka.way.away:
            return {}
        found = {each: self._kafka.logs[each.topic][each.partition][at:] for each, at in self._positions.items()}
        return {each: records for each, records in found.items() if records}


class Admin:
    """Says that every topic exists and none is weak."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    async def start(self) -> None:
        await _connect(self._kafka)

    async def close(self) -> None:
        """Nothing to close."""

    async def describe_topics(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        if self._kafka.way.away:
            raise UnknownTopicOrPartitionError
        return [{"topic": topic, "partitions": [{"replicas": [1, 2, 3]}] * PARTITIONS} for topic in topics]

    async def describe_configs(self, resources: Iterable[Any]) -> list[Any]:
        return [SimpleNamespace(resources=[(0, "", 2, resource.name, []) for resource in resources])]
