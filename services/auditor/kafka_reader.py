"""Its own reading of Kafka: everything said since yesterday, outside any group, folded into accounts."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from services.auditor.account import Account, evolve
from services.auditor.dead_letter import DeadLetter, read_dead_letter
from services.auditor.followed_events import FOLLOWED_EVENTS, TOPICS
from services.auditor.view import escalation_line
from shared.contract.audit import EscalationLine
from shared.contract.city import Cities
from shared.kernel.errors import crash_places
from shared.kernel.log.bus import Bus, Record, TopicReader
from shared.kernel.log.kafka import stop_consumer
from shared.kernel.log.record import header_texts
from shared.kernel.machine.cloudevent import source_of

PAST = timedelta(hours=24)
"""How far back it reads at its start. An escalation that is older and still open has been told to people long ago."""

REMEMBERED = timedelta(hours=1)
"""How long it keeps an account that waits for nobody."""

LOOK_EVERY, STUCK_AFTER, BLIND_AFTER, GATHER = 5.0, 15.0, 20.0, 0.3
"""Seconds between looks at how far Kafka has come, until a reader that does not answer is replaced, until one that does
not come to the end is given up, and for which records gather: a hundred cost little more than one."""

NAMES = tuple(name for topic in TOPICS for name in (topic, f"{topic}.dlq"))
DEAD_LETTERS = 200

log = structlog.get_logger()


@dataclass(eq=False)
class KafkaReader:
    """What Kafka tells. `whole_at` is when it was last read to its end, by the monotonic clock."""

    bus: Bus
    accounts: dict[UUID, Account] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    whole_at: float | None = None
    _places: dict[TopicPartition, int] = field(default_factory=dict)

    async def run(self, since: datetime) -> None:
        """Read for ever; a reader that fails or stands still is replaced by one that goes on where it was.

        Nobody waits for the end of one that was given up: its library may swallow what would end it, and hang on.
        """
        clock = asyncio.get_running_loop().time
        while True:
            begun, reading = clock(), asyncio.create_task(self._follow(since))
            try:
                while not reading.done() and clock() - max(begun, self.whole_at or begun) < BLIND_AFTER:
                    await asyncio.wait({reading}, timeout=LOOK_EVERY)
            finally:
                reading.cancel()
                await asyncio.wait({reading}, timeout=LOOK_EVERY)
            if not reading.done() or reading.cancelled():
                log.warning("reader_given_up", seconds=BLIND_AFTER)
            elif crash := reading.exception():
                log.critical("reader_crashed", signal="warning", at=crash_places(crash))
            await asyncio.sleep(1)

    async def _follow(self, since: datetime) -> None:
        reader = self.bus.reader(*NAMES, patient=True)
        try:
            async with asyncio.timeout(STUCK_AFTER):
                await reader.start()
                await self._go_on(reader, since)
            await self._read(reader)
        except (KafkaError, OSError) as silence:  # a timeout is one of these
            log.warning("kafka_unreachable", error=type(silence).__name__)
        finally:
            await stop_consumer(reader)

    async def once(self, since: datetime) -> None:
        """Read everything that was said since then, up to now. Raises KafkaError, OSError."""
        reader = self.bus.reader(*NAMES)
        try:
            await reader.start()
            await self._go_on(reader, since)
            ends = await reader.end_offsets(list(reader.assignment()))
            while not await self._reached(reader, ends):
                await self._hear(reader)
        finally:
            await reader.stop()

    def forget(self, now: datetime) -> None:
        """Let go of what waits for nobody and was last spoken of an hour ago."""
        old = [
            case
            for case, account in self.accounts.items()
            if not account.stands and (account.last_at is None or account.last_at < now - REMEMBERED)
        ]
        for case in old:
            del self.accounts[case]

    async def _go_on(self, reader: TopicReader, since: datetime) -> None:
        here = list(reader.assignment())
        ends = await reader.end_offsets(here)
        found = await reader.offsets_for_times({one: round(since.timestamp() * 1000) for one in here})
        for one in here:
            first = found.get(one)
            reader.seek(one, self._places.get(one, ends[one] if first is None else first.offset))

    async def _read(self, reader: TopicReader) -> None:
        """For ever, or until it hangs: it is let go then, so it may be cut short."""
        clock = asyncio.get_running_loop().time
        looked = clock()
        async with asyncio.timeout(STUCK_AFTER):
            ends = await reader.end_offsets(list(reader.assignment()))
        while True:
            async with asyncio.timeout(STUCK_AFTER):
                await self._hear(reader)
                if await self._reached(reader, ends):
                    self.whole_at = looked
                    await asyncio.sleep(GATHER)
                if clock() - looked >= LOOK_EVERY:
                    looked = clock()
                    ends = await reader.end_offsets(list(ends))

    async def _hear(self, reader: TopicReader) -> None:
        for partition, records in (await reader.getmany(timeout_ms=500)).items():
            for record in records:
                self._places[partition] = record.offset + 1
                self._take(record)

    async def _reached(self, reader: TopicReader, ends: Mapping[TopicPartition, int]) -> bool:
        return all([await reader.position(one) >= end for one, end in ends.items()])

    def _take(self, record: Record) -> None:
        named = header_texts(record)
        if told := named.get("dead_letter_replayed"):
            if named.get("dead_letter_outcome") == "learnt":
                self.dead = [letter for letter in self.dead if letter.where != told]
            return
        if record.topic.endswith(".dlq"):
            self.dead = [*self.dead, read_dead_letter(record, named)][-DEAD_LETTERS:]
            return
        kind = FOLLOWED_EVENTS.get(named.get("ce_type", ""))
        if kind is None or named.get("ce_source") != source_of(kind.service):
            return
        with suppress(KeyError, ValueError):  # what nobody can read is the dead letters' matter
            event = kind.model_validate_json(record.value or b"")
            cause = UUID(named["ce_cause"]) if "ce_cause" in named else None
            drill = named.get("ce_drill") == "true"
            account = self.accounts.get(event.case) or Account(event.case, event.city, drill)
            self.accounts[event.case] = evolve(account, event, named["ce_id"], cause)


async def read_escalations(
    bus: Bus, cities: Cities, since: datetime, now: Callable[[], datetime]
) -> tuple[tuple[EscalationLine, ...], int]:
    """Every escalation said since then, up to now, and how many drills: for `jingyi audit`, which needs no auditor.

    Raises KafkaError, OSError.
    """
    reader = KafkaReader(bus)
    await reader.once(since)
    accounts, moment = tuple(reader.accounts.values()), now()
    lines = (escalation_line(account, cities, moment) for account in accounts if not account.drill)
    return tuple(line for line in lines if line is not None), sum(account.drill for account in accounts)
