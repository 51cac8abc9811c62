"""What was said about one case, read from Kafka itself as it is said, whoever says it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from pydantic import ValidationError

from deploy.cli.wording import KINDS
from deploy.local import topics
from deploy.local.trouble import Trouble
from shared.contract.calls import CallReceived, EscalationRequested, ScreeningRecorded
from shared.contract.event import Event
from shared.contract.incidents import IncidentClosed, IncidentOpened
from shared.kernel import clock
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import header_texts

TOPICS = tuple(sorted({kind.topic for kind in KINDS.values()}))
CLOCKS_DIFFER_BY = 120.0
"""Seconds before a case's own birth from which its events are looked for: its id was made on another machine."""

SETTLE = 0.15
"""Seconds an event waits for older ones: four topics arrive side by side."""


@dataclass(frozen=True)
class Said:
    """One event as it lies on the bus."""

    event: Event
    id: str
    drill: bool = False


@dataclass
class Story:
    """What has been said so far, in the order it was said."""

    case: UUID
    said: list[Said] = field(default_factory=list)
    told: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def events(self) -> list[Event]:
        return [said.event for said in self.said]

    @property
    def rang_at(self) -> datetime | None:
        """When the call was taken."""
        return next((event.at for event in self.events if isinstance(event, CallReceived)), None)

    @property
    def saved_at(self) -> datetime | None:
        """When danger was first on record: danger-positive answers, or F9."""
        danger = (e.at for e in self.events if isinstance(e, EscalationRequested) or _dangerous(e))
        return next(danger, None)

    @property
    def closed(self) -> bool:
        """Whether the incident was closed, and not opened again since."""
        endings = [event for event in self.events if isinstance(event, IncidentOpened | IncidentClosed)]
        return bool(endings) and isinstance(endings[-1], IncidentClosed)

    async def add(self, said: Said) -> bool:
        """Whether it is news: the bus may bring the same event, under the same id, again."""
        async with self.told:
            if any(said.id == known.id for known in self.said):
                return False
            self.said.append(said)
            self.told.notify_all()
        return True

    async def tells(self, wanted: "Wanted", within: float) -> bool:
        """Whether such an event is said, now or within so many seconds."""
        try:
            async with asyncio.timeout(within), self.told:
                await self.told.wait_for(lambda: any(wanted.fits(event) for event in self.events))
        except TimeoutError:
            return False
        return True


def _dangerous(event: Event) -> bool:
    return isinstance(event, ScreeningRecorded) and event.danger


@dataclass(frozen=True)
class Wanted:
    """An event by the name of its type, and the fields it must have."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, event: Event) -> bool:
        return type(event).__name__ == self.name and all(getattr(event, k, None) == v for k, v in self.fields.items())

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in self.fields.items())})"


@asynccontextmanager
async def listening(kafka: str, case: UUID) -> AsyncIterator[AsyncIterator[Said]]:
    """Everything said about the case from its opening on, for as long as somebody listens."""
    reader = KafkaBus(kafka).reader(*TOPICS)
    try:
        try:
            await reader.start()
            await _from_its_birth(reader, case)
        except KafkaError as silence:
            raise Trouble(
                f"Kafka at {kafka} does not answer ({type(silence).__name__}); see `jingyi status`."
            ) from None
        yield _in_order(reader, case)
    finally:
        await reader.stop()


@asynccontextmanager
async def following(kafka: str, case: UUID, tell: Callable[[Story, Said], None]) -> AsyncIterator[Story]:
    """The case's story, growing as it is told; `tell` hears of each event after the story has it."""
    story = Story(case)

    async def hear(speech: AsyncIterator[Said]) -> None:
        async for said in speech:
            if await story.add(said):
                tell(story, said)

    async with listening(kafka, case) as speech:
        hearing = asyncio.create_task(hear(speech))
        try:
            yield story
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


async def _from_its_birth(reader: Any, case: UUID) -> None:
    """Only the one partition of each topic that a case stays on, from the case's birth on; all, if they were raised."""
    key, partition_of = str(case).encode(), DefaultPartitioner()
    spread = {topic.name: list(range(topic.partitions)) for topic in topics.listed()}
    found = {topic: sorted(reader.partitions_for_topic(topic) or spread[topic]) for topic in TOPICS}
    stays = {topic: [partition_of(key, spread[topic], spread[topic])] for topic in TOPICS}
    here = [
        TopicPartition(topic, number)
        for topic in TOPICS
        for number in (stays[topic] if found[topic] == spread[topic] else found[topic])
    ]
    reader.unsubscribe()
    reader.assign(here)
    born = min((case.int >> 80) / 1000, clock.now().timestamp()) - CLOCKS_DIFFER_BY
    ends = await reader.end_offsets(here)
    starts = await reader.offsets_for_times({partition: round(born * 1000) for partition in here})
    for partition in here:
        start = starts.get(partition)
        reader.seek(partition, ends[partition] if start is None else start.offset)


async def _in_order(reader: Any, case: UUID) -> AsyncIterator[Said]:
    key, now = str(case).encode(), asyncio.get_running_loop().time
    waiting: list[tuple[float, Said]] = []
    while True:
        for records in (await reader.getmany(timeout_ms=50)).values():
            waiting += [(now(), said) for record in records if record.key == key and (said := read(record))]
        if waiting and now() - min(came for came, _ in waiting) >= SETTLE:
            for _, said in sorted(waiting, key=lambda entry: entry[1].event.at):
                yield said
            waiting.clear()


def read(record: Any) -> Said | None:
    """The event in a record; None for a type this version does not know, or a record that is none."""
    named = header_texts(record)
    kind = KINDS.get(named.get("ce_type", ""))
    if kind is None:
        return None
    try:
        return Said(kind.model_validate_json(record.value), named.get("ce_id", ""), named.get("ce_drill") == "true")
    except ValidationError:
        return None
