"""Kafka → handlers: one subject in order, different subjects side by side, offsets committed after what they stand for.

What a handler raises decides: Malformed → dead letter; Unavailable → again, with back-off; anything else ends the
process, and a record that was in work at three ends is dead-lettered (suspects.py). Records of types nobody here waits
for are passed over unread.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from opentelemetry.trace import SpanKind

from shared.contract.event import Event
from shared.kernel import trace
from shared.kernel.errors import Malformed, Unavailable
from shared.kernel.log.bus import Bus, GroupConsumer, Record
from shared.kernel.log.dead_letter import dead_letter
from shared.kernel.log.kafka import stop_consumer
from shared.kernel.log.record import header_text
from shared.kernel.log.relay import Relay
from shared.kernel.log.router import EventRouter, Handler
from shared.kernel.log.suspects import CrashSuspects
from shared.kernel.log.unreadable import UnreadableRecord
from shared.kernel.log.watchdog import ConsumerWatchdog
from shared.kernel.machine.cloudevent import ReceivedEvent
from shared.kernel.machine.store import Store

AT_ONCE = 1000
"""Records in work at the most; beyond it fetching pauses, polling goes on."""

COMMIT_EVERY = 0.2
COMMITTED_WITHIN = 5.0
RETRY_AT_MOST = 5.0
DRAIN_WITHIN = 2.0
"""Seconds."""

CAREFUL = 2 * AT_ONCE
"""Records of a partition to handle with care at the most; more were never in work at once."""

UNREADABLE = "\ufffd"
"""What stands for bytes that are not UTF-8."""

FOLLOWS = ".follows"

_Subject = tuple[bytes | None, str | None]

log = structlog.get_logger()


@dataclass
class _PartitionWork:
    """What of one partition is in work; an offset may be committed when everything before it is done."""

    careful_until: int = 0
    open_offsets: deque[int] = field(default_factory=deque)
    done_offsets: set[int] = field(default_factory=set)
    next_commit: int | None = None

    def mark_done(self, offset: int) -> None:
        self.done_offsets.add(offset)
        while self.open_offsets and self.open_offsets[0] in self.done_offsets:
            self.next_commit = self.open_offsets.popleft() + 1
            self.done_offsets.discard(self.next_commit - 1)


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Takes the events of the types in `handlers` for one service; a group `….follows` takes them in batches."""

    def __init__(
        self, group: str, bus: Bus, handlers: Mapping[type[Event], Handler], store: Store, relay: Relay
    ) -> None:
        self._group = group
        self._bus = bus
        self._router = EventRouter(handlers)
        self._store = store
        self._relay = relay
        self._begin()
        self._stopping = False
        self._rewind_since: int | None = None
        self.joined = self.unreachable = False

    def _begin(self) -> None:
        self._suspects = CrashSuspects(self._group, self._store)
        self._partitions: dict[TopicPartition, _PartitionWork] = {}
        self._lanes: dict[_Subject, deque[tuple[_PartitionWork, Record]]] = {}
        self._lane_tasks: set[asyncio.Task[None]] = set()
        self._in_work = 0
        self._idle = asyncio.Event()
        self._watchdog = ConsumerWatchdog(self._group)

    async def run(self) -> None:
        """Consume for ever; returns only after `stop`. Once it has raised it may be run again."""
        self._begin()
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._stopping:
                    await self._consume(tasks)
                for lane in self._lane_tasks:  # those that a silent store or broker kept busy beyond DRAIN_WITHIN
                    lane.cancel()
        finally:
            self.joined = False

    async def _consume(self, tasks: asyncio.TaskGroup) -> None:
        """Until `stop`, or until Kafka does not answer or refuses."""
        kafka = self._bus.consumer(self._group, patient=self._group.endswith(FOLLOWS))
        try:
            await kafka.start()
            self.unreachable = False
            kafka.subscribe(self._router.topics, listener=self)
            await self._poll(kafka, tasks)
        except (KafkaError, OSError) as silence:
            log.warning("kafka_unreachable", brokers=self._bus.brokers, error=type(silence).__name__)
            self.joined, self.unreachable = False, True
            self._partitions.clear()
            await asyncio.sleep(1)
        finally:
            await stop_consumer(kafka)

    def stop(self) -> None:
        """Take nothing new, finish what is in work, commit, leave the group."""
        self._stopping = True

    def rewind_to(self, since: int) -> None:
        """Take once more all records since that Unix millisecond; what was learnt of them changes nothing again."""
        self._rewind_since = min(since, self._rewind_since or since)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Finish what was taken from them; what is not committed by then comes again, elsewhere."""
        await self._wait_idle()
        for partition in revoked:
            self._partitions.pop(partition, None)
        if not self._in_work:
            await self._suspects.mark_released(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._suspects.mark_assigned(assigned)
        self.joined = True

    async def _poll(self, kafka: GroupConsumer, tasks: asyncio.TaskGroup) -> None:
        self._watchdog.note_poll()
        beside = (self._commit_offsets(kafka), self._watchdog.watch_consumer(kafka, lambda: not self._in_work))
        chores = [tasks.create_task(work) for work in beside]
        try:
            while not self._stopping:
                if self._rewind_since is not None:
                    await self._rewind(kafka, self._rewind_since)
                if self._in_work >= AT_ONCE:
                    kafka.pause(*kafka.assignment())  # and go on polling, or the group takes us for dead
                elif kafka.paused():
                    kafka.resume(*kafka.paused())
                # Not cancelled at a stop: a fetch that is cut short switches the poll watchdog off for ever.
                batches = await kafka.getmany(timeout_ms=500)
                self._watchdog.note_poll()
                # After an absence much lies there at once: what was said first is learnt first, across topics too.
                for partition, records in sorted(batches.items(), key=lambda batch: batch[1][0].timestamp):
                    if partition not in self._partitions:
                        until = self._suspects.careful_until(partition, kafka.highwater(partition) or 0)
                        self._partitions[partition] = _PartitionWork(min(until, records[0].offset + CAREFUL))
                    self.take_records(self._partitions[partition], records, tasks)
        finally:
            for task in chores:
                task.cancel()
            if self._stopping:
                await self._wait_idle()
                await self._commit_once(kafka)
                if not self._in_work:
                    await self._suspects.mark_released(kafka.assignment())

    async def _rewind(self, kafka: GroupConsumer, since: int) -> None:
        """The wish stays until partitions are ours and their group is to go on from there, whoever comes after us."""
        with suppress(KafkaError, IllegalStateError):
            found = await kafka.offsets_for_times(dict.fromkeys(kafka.assignment(), since))
            first = {partition: then.offset for partition, then in found.items() if then is not None}
            back = {partition: at for partition, at in first.items() if at <= await kafka.position(partition)}
            for partition, offset in back.items():
                kafka.seek(partition, offset)
                self._partitions.pop(partition, None)  # its offsets would be committed ahead of what comes again
            if back:
                await kafka.commit(back)
            if found:
                self._rewind_since = None

    def take_records(self, work: _PartitionWork, records: Sequence[Record], tasks: asyncio.TaskGroup) -> None:
        """Put each into the lane of its subject; a lane is a task while it has records."""
        for record in records:
            work.open_offsets.append(record.offset)
            kind = header_text(record, "ce_type")
            # One without a readable type is no other service's matter: it goes on to be dead-lettered.
            if kind and not self._router.handles_type(kind) and UNREADABLE not in kind:
                work.mark_done(record.offset)
                continue
            self._in_work += 1
            self._idle.clear()
            subject = record.key, header_text(record, "ce_subject")
            lane = self._lanes.get(subject)
            if lane is None:
                self._lanes[subject] = deque([(work, record)])
                task = tasks.create_task(self._run_lane(subject))
                self._lane_tasks.add(task)
                task.add_done_callback(self._lane_tasks.discard)
            else:
                lane.append((work, record))

    async def _run_lane(self, subject: _Subject) -> None:
        """The records about one subject, one after the other."""
        lane = self._lanes[subject]
        while lane:
            work, record = lane[0]
            handle = self._learn if record.offset >= work.careful_until else self._learn_alone
            await self._handle(record, handle)
            lane.popleft()  # only now: while it is in work, what is about the same subject queues behind it
            work.mark_done(record.offset)
            self._in_work -= 1
        del self._lanes[subject]
        if not self._in_work:
            self._idle.set()

    async def _handle(self, record: Record, learn: Callable[[Record], Awaitable[None]]) -> None:
        pause = 0.1
        within = trace.parse_traceparent(header_text(record, "traceparent"))
        while True:
            with trace.span(f"process {record.topic}", within, SpanKind.CONSUMER, self._attributes(record)):
                try:
                    return await learn(record)
                except Malformed as poison:
                    await self._dead_letter(record, poison.reason)
                    return None
                except Unavailable as silence:
                    log.warning("waiting", topic=record.topic, offset=record.offset, error=str(silence))
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_AT_MOST)

    async def _learn_alone(self, record: Record) -> None:
        async with self._suspects.counted_attempt(record):
            await self._learn(record)

    async def _learn(self, record: Record) -> None:
        if isinstance(record, UnreadableRecord):
            raise Malformed("unreadable")
        type_and_id = (header_text(record, "ce_type") or "", header_text(record, "ce_id") or "")
        drill, source = header_text(record, "ce_drill") == "true", header_text(record, "ce_source") or ""
        await self._router.learn(ReceivedEvent(*type_and_id, record.key, record.value or b"", drill, source))

    async def _dead_letter(self, record: Record, reason: str) -> None:
        """Put the record aside with its reason, and go on only when the broker has it."""
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        log.error("dead_letter", **where, reason=reason, signal="warning")
        key, value, headers = dead_letter(record, reason, self._group)
        pause = 0.1
        while True:
            with suppress(Unavailable):
                return await self._relay.publish(f"{record.topic}.dlq", key, value, headers)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_AT_MOST)

    async def _commit_offsets(self, kafka: GroupConsumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY)
            await self._commit_once(kafka)

    async def _commit_once(self, kafka: GroupConsumer) -> None:
        ready = {
            partition: work.next_commit for partition, work in self._partitions.items() if work.next_commit is not None
        }
        if not ready:
            self._watchdog.note_commit()
            return
        with suppress(CommitFailedError, IllegalStateError, KafkaError, TimeoutError):
            async with asyncio.timeout(COMMITTED_WITHIN):
                await kafka.commit(ready)
            self._watchdog.note_commit()
            for partition, offset in ready.items():
                work = self._partitions.get(partition)
                if work and work.next_commit == offset:
                    work.next_commit = None

    async def _wait_idle(self) -> None:
        if self._in_work:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_WITHIN):
                    await self._idle.wait()

    def _attributes(self, record: Record) -> dict[str, str | int]:
        return {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.consumer.group.name": self._group,
            "messaging.message.id": header_text(record, "ce_id") or "",
        }
