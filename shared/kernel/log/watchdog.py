"""Whether a consumer still works: its library can fall silent without an error, and only a new process mends that.

Time is counted in looks, not by a clock: a process that was itself frozen has not been silent. What Kafka does not
answer proves nothing against us.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from shared.kernel.log.bus import GroupConsumer
from shared.kernel.log.kafka import metadata_task_ended

LOOK = 1.0
"""Seconds between looks."""

SILENT = 20
"""Looks without a poll that returned (aiokafka issues 773, 847, 1154), after which the process ends."""

MEASURE = 5
"""Looks between measurements of what lies there unheard."""

STILL = 3
"""Measurements, after a first, at which the same records lie there and nothing moved, or at which offsets were owed and
none was committed though Kafka answers (a member that lost its coordinator may wait for it for ever): fifteen seconds.
"""

log = structlog.get_logger()


class ConsumerStuck(Exception):
    """A consumer takes nothing although there is something to take. It ends the process; a new one goes on."""


class ConsumerWatchdog:
    """Watches one consumer, which notes here each poll that returns."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._silent_looks = self._owing_looks = 0

    def note_poll(self) -> None:
        """A poll returned, or Kafka was plainly away."""
        self._silent_looks = 0

    def note_commit(self) -> None:
        """Everything that is done is committed."""
        self._owing_looks = 0

    async def watch_consumer(self, kafka: GroupConsumer, idle: Callable[[], bool]) -> None:
        """Return never; raise ConsumerStuck once it is. `idle` says that nothing of it is in work."""
        looks, unheard = 0, dict[TopicPartition, tuple[int, int]]()
        while True:
            await asyncio.sleep(LOOK)
            self._silent_looks += 1
            if metadata_task_ended(kafka):
                self._end("brokers_not_learnt")
            if self._silent_looks > SILENT:
                self._end("no_poll_returns", looks=SILENT)
            looks += 1
            if looks % MEASURE:
                continue
            ends = await _ends(kafka)
            if ends is None:  # Kafka is silent, not we
                unheard.clear()
                self._owing_looks = 0
                continue
            self._owing_looks += 1
            if self._owing_looks > STILL:
                self._end("offsets_not_committed")
            behind = await _behind(kafka, ends) if idle() and not kafka.paused() else {}
            unheard = {
                p: (at, unheard[p][1] + 1 if p in unheard and unheard[p][0] == at else 0) for p, at in behind.items()
            }
            still = [str(partition) for partition, (_, times) in unheard.items() if times >= STILL]
            if still and idle():
                self._end("records_lie_unheard", partitions=still)

    def _end(self, why: str, **more: Any) -> None:
        log.critical("consumer_stuck", group=self._group, why=why, **more)
        raise ConsumerStuck(why)


async def _ends(kafka: GroupConsumer) -> dict[TopicPartition, int] | None:
    """Where each of our partitions ends; None where Kafka does not say."""
    try:
        async with asyncio.timeout(LOOK * MEASURE):
            ends: dict[TopicPartition, int] = await kafka.end_offsets(kafka.assignment())
    except (KafkaError, IllegalStateError, TimeoutError):
        return None
    return ends


async def _behind(kafka: GroupConsumer, ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """The position in each partition that has more."""
    try:
        async with asyncio.timeout(LOOK * MEASURE):
            positions = {partition: await kafka.position(partition) for partition in ends}
    except (KafkaError, IllegalStateError, TimeoutError):
        return {}
    return {partition: at for partition, at in positions.items() if at < ends[partition]}
