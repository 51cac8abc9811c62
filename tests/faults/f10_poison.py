"""F10: records that nobody can read, of a version nobody knows, too large, or a hundred times the same."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from aiokafka.errors import MessageSizeTooLargeError
from uuid_utils import uuid7

from shared.contract.calls import ScreeningRecorded
from shared.contract.event import Event
from shared.contract.incidents import CallOutOrdered
from shared.contract.risk import RiskAssessed
from shared.contract.terms import spoken_number
from shared.kernel.log.bus import MAX_EVENT, Bus
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from tests.faults.fault import Fault, Scene
from tests.faults.healing import seconds_until
from tests.faults.invariants import Bounds
from tests.faults.logs import AREA, CITY, lines
from tests.faults.shapes import ONE_BROKER

EACH = 10
COPIES = 100
RUNG_WITHIN = 30.0
PUT_ASIDE_WITHIN = 30.0
Header = tuple[str, bytes]


def headers(kind: type[Event], version: str) -> list[Header]:
    """As the kernel writes them; it is the value that is wrong."""
    named = {"ce_type": kind.type_name() + version, "ce_id": str(uuid4()), "ce_city": CITY}
    return [(name, text.encode()) for name, text in {**named, "ce_source": source_of(kind.service)}.items()]


async def poisoned(scene: Scene) -> None:
    bus = KafkaBus(scene.stage.kafka)
    producer = bus.producer()
    await producer.start()
    try:
        lost = [UUID(bytes=uuid7().bytes) for _ in range(EACH)]
        for case in lost:
            await say(producer, RiskAssessed, case, b'{"dispatch_now": ')
            await say(producer, ScreeningRecorded, uuid4(), b"\xff\xfe\x00")
            await say(producer, RiskAssessed, uuid4(), b"{}", version=".v9")
        await too_large(producer, scene)
        scene.note(f"{await repeat(bus, producer)} records said {COPIES} times more")
    finally:
        await producer.stop()
    clock = asyncio.get_running_loop().time
    began = clock()
    scene.probe(
        "poison put aside", await seconds_until(lambda: put_aside(bus), began, PUT_ASIDE_WITHIN), PUT_ASIDE_WITHIN
    )
    took = await seconds_until(lambda: rung(scene, lost), began, RUNG_WITHIN)
    scene.probe("a human rung for every escalation put aside", took, RUNG_WITHIN)


async def say(producer: object, kind: type[Event], case: UUID, value: bytes, version: str = "") -> None:
    send = getattr(producer, "send_and_wait")  # noqa: B009 aiokafka has no types
    await send(kind.topic, value, key=str(case).encode(), headers=headers(kind, version))


async def too_large(producer: object, scene: Scene) -> None:
    try:
        await say(producer, ScreeningRecorded, uuid4(), b"x" * (MAX_EVENT + 40_000))
    except MessageSizeTooLargeError:
        scene.note("300 kB refused before it left")


async def repeat(bus: Bus, producer: object) -> int:
    """The newest saved answers and orders, again and again; how many there were."""
    newest: dict[bytes, Any] = {}
    reader = bus.reader(ScreeningRecorded.topic, CallOutOrdered.topic)
    await reader.start()
    try:
        ends = await reader.end_offsets(reader.assignment())
        for partition, end in ends.items():
            reader.seek(partition, max(0, end - 20))
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                newest |= {kind: r for r in records for k, kind in r.headers if k == "ce_type" and wanted(kind)}
    finally:
        await reader.stop()
    send = getattr(producer, "send_and_wait")  # noqa: B009
    for record in newest.values():
        for _ in range(COPIES):
            await send(record.topic, record.value, key=record.key, headers=list(record.headers))
    return len(newest)


def wanted(kind: bytes) -> bool:
    return kind.decode() in {ScreeningRecorded.type_name(), CallOutOrdered.type_name()}


async def put_aside(bus: Bus) -> bool:
    """Whether the dead-letter topics have as many records as there were bad ones, at the least."""
    reader = bus.reader(f"{RiskAssessed.topic}.dlq", f"{ScreeningRecorded.topic}.dlq")
    await reader.start()
    try:
        ends = await reader.end_offsets(reader.assignment())
    finally:
        await reader.stop()
    return bool(sum(ends.values()) >= 2 * EACH)


async def rung(scene: Scene, cases: list[UUID]) -> bool:
    """Whether people outside were told of each: an escalation in a dead-letter topic is an alarm."""
    told = " ".join(line["words"] for line in lines(scene.stage.running.state / "channel" / "log.jsonl"))
    return all(spoken_number(AREA, case) in told for case in cases)


FAULTS = (
    Fault("F10", "poison, 300 kB, an unknown version, duplicates ×100", ONE_BROKER, poisoned, Bounds(delivery=5.0)),
)
