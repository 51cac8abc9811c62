"""What a bus promises, and what it makes; kafka.py is the real one.

Partitions and what Kafka refuses with are aiokafka's own words: each method that waits raises KafkaError or OSError
when the brokers do not answer. Nothing works before `start`, which returns once they have.
"""

from asyncio import Future
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition

MAX_EVENT = 262_144
"""Bytes of the largest record, as the broker's message.max.bytes."""


PARTITIONS = 12
"""Of every topic that events are said on, for ever: a case must stay on its partition."""


class Record(Protocol):
    """One record as a consumer has it; `timestamp` in Unix milliseconds."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Producer(Protocol):
    """Sends records; those of one key arrive in the order of their sending, each at most once."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Send what is queued; with a silent leader this never returns (see `stop_producer`)."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        *,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> "Future[Any]":
        """Queue a record, waiting while the queue is full. The future ends when every in-sync replica has it."""


class _Positions(Protocol):
    """Where something that reads stands, and where it could."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """End it; a broken one may fail or wait for ever (see `stop_consumer`)."""

    def assignment(self) -> Collection[TopicPartition]: ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from there. Raises IllegalStateError for a partition that is not assigned."""

    async def position(self, partition: TopicPartition) -> int:
        """The offset of what comes next. Raises IllegalStateError for a partition that is not assigned."""

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset behind the newest record of each."""

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """The first record (its `offset`) not older than that Unix millisecond, None where there is none."""


class GroupConsumer(_Positions, Protocol):
    """A member of a group: what it has not committed comes again, to it or to another. Starts at the beginning."""

    def subscribe(self, topics: Iterable[str], *, listener: ConsumerRebalanceListener) -> None:
        """Join the group. `listener` is asked before partitions are taken away, and told of those that came."""

    async def getmany(self, *, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """What came since, each partition in its order; empty after the time-out."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Begin there the next time. Raises CommitFailedError or IllegalStateError when the group has moved on."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """The end of the partition when it was last fetched; None before."""

    def paused(self) -> Collection[TopicPartition]: ...

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing of these, and remain their member."""

    def resume(self, *partitions: TopicPartition) -> None: ...


class TopicReader(_Positions, Protocol):
    """Reads whole topics outside any group; commits nothing."""

    def partitions_for_topic(self, topic: str, /) -> Collection[int] | None: ...

    def assign(self, partitions: Sequence[TopicPartition]) -> None: ...

    def unsubscribe(self) -> None: ...

    async def seek_to_beginning(self, *partitions: TopicPartition) -> Any: ...

    async def getmany(self, *, timeout_ms: int, max_records: int = 500) -> Mapping[TopicPartition, Sequence[Record]]:
        """What came since, each partition in its order; empty after the time-out."""


class TopicAdmin(Protocol):
    """Answers after topics and their settings, in aiokafka's shapes."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]: ...

    async def describe_configs(self, resources: list[Any]) -> list[Any]: ...


class Bus(Protocol):
    """The log of record. What it makes is yet to be started, and is the caller's to stop."""

    @property
    def brokers(self) -> str:
        """Where it is, for people."""

    def producer(self) -> Producer:
        """One that acknowledges only what every in-sync replica has."""

    def consumer(self, group: str, *, patient: bool = False) -> GroupConsumer:
        """A group member; a patient one takes records in batches, a fraction of a second later."""

    def reader(self, *topics: str, patient: bool = False) -> TopicReader:
        """A reader of these topics from their beginning; a patient one takes them in batches."""

    def admin(self) -> TopicAdmin:
        """One that asks after topics and their settings."""
