"""What is personal leaves a process only sealed, and opens only for its case, its field and its master key."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deploy.local.ports import free
from shared.kernel.machine.shards import shard_of
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.machine.vault import Unreadable, Vault
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.conftest import speaking
from tests.kernel.scene import CITY, about, alive, environment, give, header, mouth, process, ready, said, whole
from tests.kernel.tally.service import Noted, build
from tests.support.guessing import stored

PLANTED = {
    "name": "王小明",
    "phone": "13935401234",
    "address": "晋中市榆次区迎宾街88号3单元",
    "answers": {"q1": 1, "method": "百草枯"},
}
PLAIN = [text.encode() for text in ("王小明", "13935401234", "迎宾街", "百草枯", "\\u738b\\u5c0f", "\\u767e\\u8349")]
TOPICS = ("tally.given", "tally.counted", "tally.given.dlq", "tally.counted.dlq", "case.keys")


async def note(client: httpx.AsyncClient, case: UUID, key: str = "note", **more: Any) -> httpx.Response:
    path = f"/cities/{CITY}/tallies/{case}/notes"
    return await client.post(path, json={**PLANTED, **more}, headers={"idempotency-key": key})


async def show(client: httpx.AsyncClient, case: UUID) -> httpx.Response:
    return await client.get(f"/cities/{CITY}/tallies/{case}")


@asynccontextmanager
async def vault(settings: Settings, masters: dict[int, bytes] | None = None) -> AsyncIterator[Vault]:
    store = ValkeyStore(settings.redis_url, lambda *_: None)
    work = asyncio.create_task(store.run())
    yield Vault(masters or settings.masters, store)
    work.cancel()
    await asyncio.wait([work])


async def told(settings: Settings, case: UUID) -> list[Any]:
    def noted(found: list[Any]) -> bool:
        return any(header(r, "ce_type") == Noted.type_name() for r in about(found, case))

    return await said(settings.kafka, "tally.counted", noted)


async def test_two_fields_sealed_at_the_same_moment_open_under_one_key(settings: Settings) -> None:
    """Else one of them is sealed under a key that no commit ever brings to the store."""
    case = uuid4()
    async with vault(settings) as shared:
        sealed = await asyncio.gather(*(shared.seal(case, field, field, city=CITY) for field in ("place", "brief")))
        opened = [await shared.unseal(case, f, s, city=CITY) for f, s in zip(("place", "brief"), sealed, strict=True)]
    assert opened == ["place", "brief"]


async def test_what_was_planted_is_found_plain_nowhere(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    case, log = uuid4(), tmp_path / "log"
    async with (
        process(settings, log, environment(settings, TALLY_DELETE_EVERY="60")),
        mouth(settings.kafka) as producer,
    ):
        await ready(client)
        assert (await note(client, case)).status_code == 201
        await note(client, uuid4(), "wrong", phone=13935401234, surprise="王小明")
        await give(producer, case, -1)
        await told(settings, case)
        found = await stored(settings.redis_url)
    async with running_service(build, settings):
        await alive(client)
        assert (await show(client, case)).json()["notes"] == [PLANTED]
        await note(client, case, "again")
    records = await whole(settings.kafka, *TOPICS)
    found += [part for r in records for h in r.headers for part in (r.key, r.value, h[0].encode(), h[1]) if part]
    found += [log.read_bytes(), *(span.to_json().encode() for span in spans.get_finished_spans())]
    assert [plain for plain in PLAIN if any(plain in part for part in found)] == []
    assert about(records, case)


async def test_a_ciphertext_moved_to_another_case_or_field_does_not_open(settings: Settings) -> None:
    case, other = uuid4(), uuid4()
    async with vault(settings) as sealing:
        sealed = await sealing.seal(case, "answers", PLANTED, city=CITY)
        await sealing.seal(other, "answers", PLANTED, city=CITY)
        assert await sealing.unseal(case, "answers", sealed, city=CITY) == PLANTED
        for wrong_case, wrong_field in ((case, "brief"), (other, "answers")):
            with pytest.raises(Unreadable):
                await sealing.unseal(wrong_case, wrong_field, sealed, city=CITY)


async def test_s10_an_earlier_screening_does_not_open_in_place_of_a_later_one(settings: Settings) -> None:
    case, first, second = uuid4(), f"answers/{uuid4()}", f"answers/{uuid4()}"
    async with vault(settings) as sealing:
        sealed = [await sealing.seal(case, field, PLANTED, city=CITY) for field in (first, second)]
        assert await sealing.unseal(case, first, sealed[0], city=CITY) == PLANTED
        with pytest.raises(Unreadable):
            await sealing.unseal(case, second, sealed[0], city=CITY)
        with pytest.raises(Unreadable):  # nor if it says that it is of before such things were bound
            await sealing.unseal(case, second, sealed[0].replace("s2.", "s1."), city=CITY)


async def test_s10_a_case_id_that_comes_up_in_two_cities_has_a_key_in_each(settings: Settings) -> None:
    case, other = uuid4(), next(f"{code}" for code in range(110000, 999999) if shard_of(str(code)) != shard_of(CITY))
    async with vault(settings) as sealing:
        sealed = {city: await sealing.seal(case, "place", PLANTED, city=city) for city in (CITY, other)}
        assert sealing.pending_key(case, CITY) != sealing.pending_key(case, other)
        for city, elsewhere in ((CITY, other), (other, CITY)):
            assert await sealing.unseal(case, "place", sealed[city], city=city) == PLANTED
            with pytest.raises(Unreadable):
                await sealing.unseal(case, "place", sealed[city], city=elsewhere)


DAMAGED = ["", "s1.", "s1.?", "s1.AAAA", "s2.", "s2.AAAA", "s3.AAAA", "nothing", "s1.王", "s2.王", "s2." + "A" * 200]


@pytest.mark.parametrize("damaged", DAMAGED)
async def test_a_damaged_ciphertext_is_unreadable_and_nothing_worse(settings: Settings, damaged: str) -> None:
    case = uuid4()
    async with vault(settings) as sealing:
        await sealing.seal(case, "answers", 1, city=CITY)
        with pytest.raises(Unreadable):
            await sealing.unseal(case, "answers", damaged, city=CITY)


async def test_a_wrong_master_key_reads_nothing_and_says_so(settings: Settings, client: httpx.AsyncClient) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await ready(client)
        await note(client, case)
    for strangers in ({1: os.urandom(32)}, {2: os.urandom(32)}):
        async with vault(settings, strangers) as stranger:
            with pytest.raises(Unreadable):
                await stranger.unseal(case, "answers", "s1.AAAA", city=CITY)
    settings.master_keys.write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    changed = Settings(**{**settings.model_dump(), "port": free(1)[0]})
    async with running_service(build, changed), speaking(changed) as there:
        await alive(there)
        answer = await show(there, case)
    assert (answer.status_code, answer.json()["code"]) == (503, "unreadable")


async def test_the_key_of_a_case_is_acknowledged_before_its_first_event(
    settings: Settings, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await ready(client)
        await note(client, case)
        [event] = [r for r in about(await told(settings, case), case) if header(r, "ce_type") == Noted.type_name()]
        keys = about(await said(settings.kafka, "case.keys", lambda found: bool(about(found, case))), case)
    assert [key.value.split(b".")[0] for key in keys] == [b"k1"]
    assert keys[0].timestamp <= event.timestamp
    ended = {s.name: s for s in spans.get_finished_spans() if s.context and s.context.trace_id == case.int}
    assert (ended["send case.keys"].end_time or 0) <= (ended["send tally.counted"].start_time or 0) + 1_000_000


async def test_two_processes_that_open_one_case_at_once_end_with_one_key_and_all_notes_readable(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    other = settings.model_copy(update={"port": free(1)[0], "instance": "other"})
    async with running_service(build, settings), running_service(build, other), speaking(other) as there:
        await ready(client)
        await ready(there)

        async def insist(speaker: httpx.AsyncClient, key: str) -> None:
            while (await note(speaker, case, key)).status_code == 503:
                await asyncio.sleep(0.01)

        await asyncio.gather(*(insist(who, f"{n}{who.base_url}") for who in (client, there) for n in range(3)))
        read = [(await show(who, case)).json()["notes"] for who in (client, there)]
        keys = about(await said(settings.kafka, "case.keys", lambda found: bool(about(found, case))), case)
    assert read == [[PLANTED] * 6] * 2
    assert len({key.value for key in keys}) == 1
