"""Whether the store is still the one it was: over an emptied one, or an older copy, old instances must not go on.

A mark of each service rises in the store, and Kafka is told it. A store below the mark that Kafka has, or that this
process has seen, has lost something (docs/decisions/0017-rising-mark.md).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from shared.kernel.clock import unix_milliseconds
from shared.kernel.errors import Unavailable
from shared.kernel.log.bus import Bus
from shared.kernel.machine.store import GENERATION, Store
from shared.kernel.machine.vault import KEYS_TOPIC

LOOK_EVERY = 0.5
"""Seconds; cases that begin between the loss and the next look are refused like those from before it."""

MARK_EVERY = 10.0
"""Seconds; a copy of the store that is no older than this may pass for the store itself."""

VOUCH_WITHIN = 5.0
"""Seconds in which Kafka is to say whether a store without a generation was ever used; then it counts as emptied."""

RECALL_WITHIN = 10.0
"""Seconds for one reading of the marks."""

TAIL = 500
"""Records at the end of a partition among which its newest mark is: who says keys there says marks, too."""

REWIND = 30_000
"""Milliseconds before the loss to which consumers rewind once the store is rebuilt: rows that still waited for Kafka
are in no log, so what they answered is learnt again. They wait for milliseconds, for seconds where Kafka is silent."""

Mark = tuple[int, int]
"""A generation, and how often it was marked."""

NEVER: Mark = (-1, 0)

Publish = Callable[[str, bytes, bytes, list[tuple[str, bytes]]], Awaitable[None]]

log = structlog.get_logger()


@dataclass(eq=False)
class StoreGeneration:
    """What one process knows of its store. When that has become another, `clear_memory` is called, and `rewind_to`
    with a Unix millisecond."""

    service: str
    store: Store
    bus: Bus
    publish: Publish
    now: Callable[[], datetime]
    clear_memory: Callable[[], None]
    rewind_to: Callable[[int], None]
    _generation: bytes | None = None
    _newest: Mark = NEVER
    _recalled: bool = False
    _presumed_lost: bool = False

    @property
    def _mark(self) -> str:
        return f"{self.service}:mark"

    async def run(self) -> None:
        """Look for ever."""
        vouch_until = asyncio.get_running_loop().time() + VOUCH_WITHIN
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recall())
            tasks.create_task(self._raise_mark())
            while True:
                with suppress(Unavailable):
                    await self._look(patient=asyncio.get_running_loop().time() < vouch_until)
                await asyncio.sleep(LOOK_EVERY)

    async def _recall(self) -> None:
        while not self._recalled:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(RECALL_WITHIN):
                    told = await newest_mark(self.bus, self._mark)
                    self._newest, self._recalled = max(self._newest, told), True
            await asyncio.sleep(LOOK_EVERY)

    async def _raise_mark(self) -> None:
        while True:
            with suppress(Unavailable):
                if self._generation is not None and self.store.lost_at is None:
                    mark = b"%s:%d" % (self._generation, await self.store.ask("INCR", self._mark))
                    await self.publish(KEYS_TOPIC, self._mark.encode(), mark, [])
                    await asyncio.sleep(MARK_EVERY)
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, *, patient: bool) -> None:
        found, marked = await self.store.ask_all([("GET", GENERATION), ("GET", self._mark)])
        unused = self._recalled and self._newest == NEVER
        if found is None:
            if unused:
                await self.store.ask("SET", GENERATION, 0, "NX")
            elif self._newest != NEVER or not patient:
                self._presumed_lost = not self._recalled
                await self.store.ask("SET", GENERATION, f"lost:{unix_milliseconds(self.now())}", "NX")
        elif b":" in found:
            self._note_loss(found)
            if unused and self._presumed_lost:
                await self.store.ask("SET", GENERATION, 0)
        elif (mark := (int(found), int(marked or 0))) < self._newest:
            await self.store.ask("SET", GENERATION, f"older:{unix_milliseconds(self.now())}")
        else:
            self._newest = mark
            self._note_generation(found)

    def _note_loss(self, found: bytes) -> None:
        kind, _, since = found.decode().partition(":")
        if self.store.lost_at is None:
            log.error("store_lost", signal="alarm", kind=kind, since_ms=int(since), do="jingyi rebuild")
        self.store.lost_at = int(since)

    def _note_generation(self, generation: bytes) -> None:
        if self._generation not in {None, generation} or self.store.lost_at is not None:
            log.warning("store_rebuilt", signal="warning", generation=generation.decode())
            self.clear_memory()
            self.rewind_to((self.store.lost_at or unix_milliseconds(self.now())) - REWIND)
        self._generation, self.store.lost_at, self.store.epoch = generation, None, int(generation)


async def newest_mark(bus: Bus, key: str) -> Mark:
    """The newest mark that Kafka was told under this key; NEVER where it was told none. Raises KafkaError, OSError."""
    reader = bus.reader(KEYS_TOPIC)
    newest = NEVER
    try:
        await reader.start()
        partitions = [TopicPartition(KEYS_TOPIC, n) for n in reader.partitions_for_topic(KEYS_TOPIC) or ()]
        reader.unsubscribe()
        ends = {partition: end for partition, end in (await reader.end_offsets(partitions)).items() if end}
        reader.assign(list(ends))
        for partition, end in ends.items():
            reader.seek(partition, max(0, end - TAIL))
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=500)).values():
                newest = max([newest, *(_mark(record.value) for record in records if record.key == key.encode())])
        return newest
    finally:
        await reader.stop()


def _mark(told: bytes | None) -> Mark:
    try:
        generation, _, count = (told or b"").partition(b":")
        return int(generation), int(count)
    except ValueError:
        return NEVER
