"""What was fetched, and in the place of what nobody can read a record that says so: one record stops no reader.

aiokafka 0.14 raises out of a poll, and of every poll after it, where the name of a header is not UTF-8, where a codec
is not installed and where bytes are torn. Here such a batch is read record by record, names as far as they are text.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint
from aiokafka.structs import ConsumerRecord, TopicPartition

FETCHES = 3
"""Fetches in which a batch did not open, after which its next record is passed over: one may be torn on its way."""

LENGTH = slice(8, 12)
"""Where a batch says how many bytes follow."""


class UnreadableRecord(ConsumerRecord):  # type: ignore[misc]
    """A place in the log at which lies what nobody can read."""

    @classmethod
    def at(cls, partition: TopicPartition, offset: int) -> "UnreadableRecord":
        return cls(partition.topic, partition.partition, offset, 0, 0, None, None, None, -1, -1, ())


class FetchedBytes(MemoryRecords):  # type: ignore[misc]
    """The batches of one fetch, and the bytes that they are in."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class FetchedRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetch; none of them raises."""

    next_fetch_offset: int
    _unopened: ClassVar[Counter[tuple[TopicPartition, int]]] = Counter()

    def _unpack_records(self) -> Iterator[ConsumerRecord]:
        begin = self.next_fetch_offset
        try:
            yield from super()._unpack_records()
        except Exception:  # noqa: BLE001 whatever codecs and decoders raise at bytes that are not theirs
            if self.next_fetch_offset == begin:  # else what came before goes out first, and this is fetched again
                yield from self._read_leniently()

    def _read_leniently(self) -> Iterator[ConsumerRecord]:
        place = self._tp, self.next_fetch_offset
        try:
            batch = _batch_at(self._records.data, self.next_fetch_offset)
            for record in _records(self._tp, batch):
                if record.offset >= self.next_fetch_offset:
                    self.next_fetch_offset = record.offset + 1
                    yield record
            self.next_fetch_offset = batch.next_offset  # compaction leaves offsets that no record has
        except Exception:  # noqa: BLE001 as above
            self._unopened[place] += 1
            if self._unopened[place] >= FETCHES:
                del self._unopened[place]
                self.next_fetch_offset += 1
                yield UnreadableRecord.at(*place)


def _batch_at(data: bytes, offset: int) -> _DefaultRecordBatchPy:
    """The batch in which this offset lies, opened."""
    while True:
        end = LENGTH.stop + int.from_bytes(data[LENGTH])
        batch = _DefaultRecordBatchPy(data[:end])
        if batch.next_offset > offset:
            break
        data = data[end:]
    if not batch.validate_crc():
        raise CorruptRecordException
    batch._maybe_uncompress()
    return batch


def _records(partition: TopicPartition, batch: Any) -> Iterator[ConsumerRecord]:
    at = batch._pos
    for n in range(batch._num_records):
        length, begin = decode_varint(batch._buffer, at)
        at = begin + length
        try:
            yield _record(partition, batch, batch._buffer[begin:at])
        except (ValueError, IndexError):
            yield UnreadableRecord.at(partition, batch.base_offset + n)


def _record(partition: TopicPartition, batch: Any, written: bytearray) -> ConsumerRecord:
    """One record of format 2: attributes, time, offset, key, value, headers."""
    later, at = decode_varint(written, 1)
    n, at = decode_varint(written, at)
    key, at = _part(written, at)
    value, at = _part(written, at)
    count, at = decode_varint(written, at)
    headers = []
    for _ in range(count):
        name, at = _part(written, at)
        text, at = _part(written, at)
        headers.append(((name or b"").decode(errors="replace"), text))
    if at != len(written):
        raise ValueError
    stamp = batch.max_timestamp if batch.timestamp_type else batch.first_timestamp + later
    sizes = (-1 if part is None else len(part) for part in (key, value))
    offset = batch.base_offset + n
    return ConsumerRecord(
        partition.topic, partition.partition, offset, stamp, batch.timestamp_type, key, value, None, *sizes, (*headers,)
    )


def _part(written: bytearray, at: int) -> tuple[bytes | None, int]:
    """What lies there behind its length; None behind a negative one."""
    length, at = decode_varint(written, at)
    return (None, at) if length < 0 else (bytes(written[at : at + length]), at + length)
