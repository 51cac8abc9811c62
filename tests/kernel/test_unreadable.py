"""What a client library cannot read of a partition is put aside by its place, and stops nobody."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from aiokafka import TopicPartition

from deploy.local.kafka import Cluster
from shared.kernel.clock import now
from shared.kernel.log.bus import MAX_EVENT
from shared.kernel.log.unreadable import FetchedBytes, FetchedRecords
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import CITY, counted, give, header, headers, mouth, ready, said, totals, whole
from tests.kernel.tally.service import Given, build
from tests.kernel.test_rebuild import rebuilt
from tests.support.batches import ODD, batch, partition_of, put, zstandard

MORE = (None, None, True, 0)
"""No deserializers; checksums are checked, transactions not."""


async def dead(settings: Settings, *origins: str) -> dict[str | None, str | None]:
    """The reasons of the dead letters from these places, as soon as each has one."""

    def ours(found: list[Any]) -> list[Any]:
        return [record for record in found if header(record, "dead_letter_origin") in origins]

    found = ours(await said(settings.kafka, "tally.given.dlq", lambda found: len(ours(found)) >= len(origins)))
    assert len(found) == len(origins)
    return {header(record, "dead_letter_origin"): header(record, "dead_letter_reason") for record in found}


async def test_t2_a_header_name_that_is_no_text_hides_nothing_of_its_record(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    key, topic, odd = str(case).encode(), "tally.given", (ODD, b"?")
    event = Given(case=case, city=CITY, at=now(), amount=4).model_dump_json().encode()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        first = await put(
            settings.kafka,
            topic,
            partition_of(key),
            batch(
                (key, event.replace(b":4", b":1"), headers()),
                (None, None, [odd]),
                (key, event, [odd, *headers()]),
                (key, b"{", [*headers(), odd]),
            ),
        )
        await give(producer, case, 2)
        assert totals(await counted(settings.kafka, case, 7)) == [1, 5, 7]
        place = f"{topic}/{partition_of(key)}"
        reasons = await dead(settings, f"{place}/{first + 1}", f"{place}/{first + 3}")
    assert reasons == {f"{place}/{first + 1}": "invalid_type", f"{place}/{first + 3}": "invalid_event"}


async def test_t2_a_batch_in_a_codec_that_is_not_installed_is_put_aside_place_by_place(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    key, topic = str(case).encode(), "tally.given"
    event = Given(case=case, city=CITY, at=now(), amount=4).model_dump_json().encode()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        await give(producer, case, 1)
        closed = zstandard(batch((key, event, headers()), (key, event, headers())))
        first = await put(settings.kafka, topic, partition_of(key), closed)
        await give(producer, case, 2)
        assert totals(await counted(settings.kafka, case, 3)) == [1, 3]
        places = [f"{topic}/{partition_of(key)}/{first + n}" for n in range(2)]
        assert await dead(settings, *places) == dict.fromkeys(places, "unreadable")
        assert len(await whole(settings.kafka, topic)) > 3, "and who reads from the beginning comes past it"


async def test_t2_bytes_that_rot_on_the_disk_are_put_aside_and_a_rebuild_passes_over_them(
    settings: Settings, client: httpx.AsyncClient, kafka: Cluster
) -> None:
    case, files = uuid4(), kafka.brokers[0].folder / "log"
    async with mouth(settings.kafka) as producer:
        sent = await give(producer, case, 1)
        rot(files / f"{sent.topic}-{sent.partition}", str(case).encode())
        await give(producer, case, 2)
    async with running_service(build, settings):
        await ready(client)
        [told] = await counted(settings.kafka, case, 2)
        place = f"{sent.topic}/{sent.partition}/{sent.offset}"
        assert await dead(settings, place) == {place: "unreadable"}
    rot(files / f"{told.topic}-{told.partition}", str(case).encode())
    assert f"{told.topic}/{told.partition}/{told.offset}" in (await rebuilt(settings)).unread


def rot(folder: Path, word: bytes) -> None:
    """Flip a bit within this word, in the file in which Kafka keeps it."""
    [file] = [file for file in folder.glob("*.log") if word in file.read_bytes()]
    with file.open("r+b") as there:
        there.seek(file.read_bytes().index(word))
        there.write(bytes([word[0] ^ 1]))


async def test_t2_headers_without_number_are_put_aside_by_their_place(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    many = [("", b"")] * (MAX_EVENT // 2 - 2000)
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        sent = await producer.send_and_wait("tally.given", None, str(case).encode(), headers=many)
        await give(producer, case, 2)
        await counted(settings.kafka, case, 2)
        place = f"{sent.topic}/{sent.partition}/{sent.offset}"
        assert await dead(settings, place) == {place: "invalid_type"}


def test_t2_a_batch_that_compaction_thinned_is_left_behind() -> None:
    thinned = batch((b"key", b"kept", [(ODD, b"?")]), last=5)
    for position, heard in ((0, 1), (3, 0)):
        records = FetchedRecords(TopicPartition("case.keys", 0), FetchedBytes(thinned), None, position, *MORE)
        assert len(list(records)) == heard
        assert records.next_fetch_offset == 6
