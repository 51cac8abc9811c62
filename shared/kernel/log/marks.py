"""The mark of a service's store in Kafka, which outlives the store: the newest of a key in the topic of keys."""

import asyncio
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from shared.kernel.errors import Unavailable
from shared.kernel.log.bus import Bus
from shared.kernel.log.kafka import stop_consumer
from shared.kernel.log.relay import Relay
from shared.kernel.machine.generation import NEVER, Mark
from shared.kernel.machine.vault import KEYS_TOPIC

RECALL_WITHIN = 10.0
"""Seconds."""

TAIL = 500
"""Records at the end of a partition among which its newest mark is: who says keys there says marks, too."""


@dataclass(frozen=True, eq=False)
class KafkaMarks:
    """The marks that go by the name `key`."""

    key: str
    bus: Bus
    relay: Relay

    async def tell_mark(self, mark: Mark) -> None:
        """Keep it. Raises Unavailable."""
        await self.relay.publish(KEYS_TOPIC, self.key.encode(), b"%d:%d" % mark, [])

    async def newest_mark(self) -> Mark:
        """The newest that was told; NEVER where none was. Raises Unavailable."""
        try:
            async with asyncio.timeout(RECALL_WITHIN):
                return await self._read()
        except (KafkaError, OSError) as silence:  # a timeout is one of these
            raise Unavailable(f"Kafka does not say its marks: {type(silence).__name__}.") from silence

    async def _read(self) -> Mark:
        reader, newest = self.bus.reader(KEYS_TOPIC), NEVER
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
                    told = (record.value for record in records if record.key == self.key.encode())
                    newest = max([newest, *map(_mark, told)])
            return newest
        finally:
            await stop_consumer(reader)


def _mark(told: bytes | None) -> Mark:
    try:
        generation, _, count = (told or b"").partition(b":")
        return int(generation), int(count)
    except ValueError:
        return NEVER
