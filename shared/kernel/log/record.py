"""A record's headers, and whole topics read from their beginning to now, for rebuilds and people who look back."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from shared.kernel.log.bus import Bus, Record, TopicReader

POLL_MS = 500
"""Milliseconds one poll waits."""

AT_ONCE = 5000
"""Records of one poll at the most."""


@asynccontextmanager
async def open_reader(bus: Bus, *topics: str) -> AsyncIterator[tuple[TopicReader, dict[TopicPartition, int]]]:
    """A started reader, and where each partition of these topics ends now. Raises KafkaError, OSError."""
    reader = bus.reader(*topics)
    try:
        await reader.start()
        partitions = [TopicPartition(t, number) for t in topics for number in reader.partitions_for_topic(t) or ()]
        reader.unsubscribe()
        yield reader, await reader.end_offsets(partitions)
    finally:
        await reader.stop()


async def read_records(reader: TopicReader, ends: Mapping[TopicPartition, int]) -> AsyncIterator[Record]:
    """Every record of these partitions up to their ends."""
    open_ones = {partition: end for partition, end in ends.items() if end}
    if not open_ones:
        return
    reader.assign(list(open_ones))
    await reader.seek_to_beginning(*open_ones)
    # By position: compaction leaves offsets that no record has.
    while any([await reader.position(partition) < end for partition, end in open_ones.items()]):
        for batch in (await reader.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)).values():
            for record in batch:
                yield record


def header_text(record: Record, name: str) -> str | None:
    """A header's text; None if it is not there."""
    return next(((value or b"").decode(errors="replace") for key, value in record.headers if key == name), None)


def header_texts(record: Record) -> dict[str, str]:
    """Every header's text by its name; of two of one name the last."""
    return {name: (value or b"").decode(errors="replace") for name, value in record.headers}
