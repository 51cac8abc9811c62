"""Batches that no client of ours would send, put into a partition as they are."""

import struct
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NotLeaderForPartitionError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record._crc32c import crc
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from shared.kernel.clock import now, unix_milliseconds

HEADER = 61
"""Bytes of a batch before its records."""

ODD = "oddname"
"""The name of a header whose letters become bytes that are no text."""

Parts = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


def batch(*records: Parts, last: int | None = None) -> bytes:
    """These records (key, value, headers) as one batch; of a header named `ODD` the name is not UTF-8.

    `last`: the offset of its last record, which compaction has taken.
    """
    building, at = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20), unix_milliseconds(now())
    for n, (key, value, headers) in enumerate(records):
        building.append(n, at, key, value, list(headers))
    written = bytes(building.build()).replace(ODD.encode(), b"\xff\xfe" * 3 + b"\xff")
    return _sealed(written if last is None else written[:23] + struct.pack(">i", last) + written[27:])


def zstandard(plain: bytes) -> bytes:
    """The same batch in a codec that is not installed here: a Zstandard frame of one stored block."""
    records = plain[HEADER:]
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(records)) + ((len(records) << 3) | 1).to_bytes(3, "little")
    return _sealed(plain[:22] + b"\x04" + plain[23:HEADER] + frame + records)


def partition_of(key: bytes, partitions: int = 12) -> int:
    every = list(range(partitions))
    return int(DefaultPartitioner()(key, every, every))


async def put(brokers: str, topic: str, partition: int, written: bytes) -> int:
    """Have the leader take a batch as it is; its first offset."""
    client: Any = AIOKafkaClient(bootstrap_servers=brokers)
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        error, offset = NotLeaderForPartitionError.errno, -1  # as long as the topic is young
        while error == NotLeaderForPartitionError.errno:
            answer = await client.send(leader, ProduceRequest(None, -1, 5000, [(topic, [(partition, written)])]))
            [(_, [(_, error, offset, *_)])] = answer.topics
        assert not error, f"Kafka refuses the batch with error {error}."
        return int(offset)
    finally:
        await client.close()


def _sealed(written: bytes) -> bytes:
    """With its length and its checksum."""
    length = struct.pack(">i", len(written) - 12)
    written = written[:8] + length + written[12:]
    return written[:17] + struct.pack(">I", crc(written[21:])) + written[21:]
