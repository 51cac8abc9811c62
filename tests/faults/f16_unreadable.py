"""F16: on each topic records that no client of ours would send and none can read: each is put aside, the rest goes on.

A header whose name is no text, a value that is no JSON, a batch in a codec that is not installed; each in a partition
of its own choice, whose later events are to be on time.
"""

import asyncio
from collections import Counter
from uuid import uuid4

from shared.contract.callouts import REPORTS
from shared.contract.calls import ScreeningRecorded
from shared.contract.incidents import CallOutOrdered
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Rung
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import header_text, open_reader, read_records
from tests.faults.f10_poison import headers
from tests.faults.fault import Fault, Scene
from tests.faults.healing import seconds_until
from tests.faults.invariants import Bounds
from tests.faults.shapes import ONE_BROKER
from tests.support.batches import ODD, batch, put, zstandard

KINDS = (ScreeningRecorded, RiskAssessed, CallOutOrdered, REPORTS[Rung.ACCEPTED])
"""One of each topic, that somebody waits for."""

PARTITIONS = 12
PUT_ASIDE_WITHIN = 15.0

Letters = Counter[tuple[str | None, str | None]]
"""How many there are from one place by one consumer."""


async def unreadable(scene: Scene) -> None:
    places = []
    for kind in KINDS:
        key, named = str(uuid4()).encode(), headers(kind, "")
        for written in (
            batch((key, b"{}", [(ODD, b"?")])),
            batch((key, b'{"case": ', named)),
            zstandard(batch((key, b"{}", named))),
        ):
            partition = scene.chance.randrange(PARTITIONS)
            offset = await put(scene.stage.kafka, kind.topic, partition, written)
            places.append(f"{kind.topic}/{partition}/{offset}")
    bus, clock = KafkaBus(scene.stage.kafka), asyncio.get_running_loop().time

    async def put_aside() -> bool:
        return {place for place, _ in await letters(bus)} >= set(places)

    took = await seconds_until(put_aside, clock(), PUT_ASIDE_WITHIN)
    scene.probe("every one put aside", took, PUT_ASIDE_WITHIN)
    found = await letters(bus)
    again = sum(times - 1 for (place, _), times in found.items() if place in places)
    scene.probe("put aside more than once", float(again), 0.0)
    told = sum(place in places for place, _ in found)
    scene.note(f"{len(places)} records, {told} dead letters, one by each consumer")


async def letters(bus: KafkaBus) -> Letters:
    found: Letters = Counter()
    async with open_reader(bus, *(f"{kind.topic}.dlq" for kind in KINDS)) as (reader, ends):
        async for record in read_records(reader, ends):
            found[header_text(record, "dead_letter_origin"), header_text(record, "dead_letter_service")] += 1
    return found


FAULTS = (
    Fault("F16", "records that nobody can read", ONE_BROKER, unreadable, Bounds(delivery=5.0, first_try=True), rate=15),
)
