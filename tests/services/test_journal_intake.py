"""Intake without store and Kafka: it takes cries for help, rings from memory, and loses or doubles nothing."""

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import yaml
from redis import Redis
from uuid_utils.compat import uuid7

from deploy.local.ports import free
from deploy.local.valkey import Valkey
from deploy.local.valkey import valkey as running_valkey
from services.hotline_intake.service import build
from shared.contract.terms import spoken_number
from shared.kernel.process.file_journal import FileJournal
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.services.test_hotline_intake_api import CITY, DANGER, PACK, POLICE
from tests.support.eventually import eventually
from tests.support.generations import begin_generation

Body = dict[str, Any]
AMBULANCE = "140700-120"
CLOCKS = {"assess_by": 20, "ring_at": 30, "claim": 60}


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A store of our own, which a test kills, freezes and starts again."""
    async with running_valkey(tmp_path / "valkey") as server:
        yield server
        freeze(server, signal.SIGCONT)


@pytest.fixture
def settings(store: Valkey, tmp_path: Path) -> Settings:
    pack = PACK | {"clocks": CLOCKS}
    (tmp_path / f"{CITY}.yaml").write_text(yaml.safe_dump(pack, allow_unicode=True), encoding="utf-8")
    (tmp_path / "master.keys").write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    port, nowhere = free(2)
    begin_generation(store.url)
    return Settings(
        redis_url=store.url,
        kafka=f"127.0.0.1:{nowhere}",
        port=port,
        cities=tmp_path,
        master_keys=tmp_path / "master.keys",
        journal=tmp_path / "journal",
        instance="journal-test",
    )


@asynccontextmanager
async def intake(settings: Settings) -> AsyncIterator["Seats"]:
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-1"}
    async with (
        running_service(build, settings),
        httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False, timeout=20) as client,
    ):
        seats = Seats(client)
        await eventually(seats.live)
        yield seats


class Seats:
    """The seats of one line."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def live(self) -> bool:
        try:
            return (await self.client.get("/health/live")).is_success
        except httpx.TransportError:
            return False

    async def ready(self) -> int:
        return (await self.client.get("/health/ready")).status_code

    async def opens(self, case: UUID, **body: Any) -> httpx.Response:
        return await self.client.put(f"/cities/{CITY}/calls/{case}", json=body)

    async def posts(self, path: str, body: Any = None, *, key: str | None = None, by: str = "seat-1") -> httpx.Response:
        headers = {"idempotency-key": key or str(uuid4()), "x-actor": by}
        return await self.client.post(f"/cities/{CITY}/{path}", json=body or {}, headers=headers)

    async def presses_f9(self, case: UUID, key: str | None = None) -> httpx.Response:
        return await self.posts(f"calls/{case}/escalations", key=key)

    async def saves_danger(self, case: UUID, key: str | None = None) -> httpx.Response:
        return await self.posts(f"calls/{case}/screenings", {"answers": DANGER}, key=key)

    async def claims(self, case: UUID, by: str = "seat-2") -> httpx.Response:
        return await self.posts(f"alarms/{case}/claims", {"desk": POLICE}, by=by)

    async def settles(self, case: UUID, by: str = "seat-2") -> httpx.Response:
        told = {"desk": POLICE, "officer": "W-1", "event_no": "77"}
        return await self.posts(f"alarms/{case}/settlements", told, by=by)

    async def alarms(self, case: UUID) -> list[Body]:
        found = (await self.client.get(f"/cities/{CITY}/alarms")).json()
        return [alarm for alarm in found if alarm["case"] == str(case)]

    async def phase(self, case: UUID) -> str | None:
        """How far the store's ledger is with the police; None while the store does not know."""
        answer = await self.client.get(f"/cities/{CITY}/calls/{case}")
        desks = answer.json()["ledger"]["desks"] if answer.is_success else ()
        return next((desk["phase"] for desk in desks if desk["desk"] == POLICE), None)


def freeze(store: Valkey, number: signal.Signals = signal.SIGSTOP) -> None:
    assert store.process
    store.process.signal(number)


async def kill(store: Valkey) -> None:
    freeze(store, signal.SIGKILL)
    assert store.process
    await store.process.wait()


async def back(store: Valkey) -> None:
    await store.start()
    await store.until_ready()


async def escalations(store: Valkey, case: UUID) -> list[str]:
    """What the outbox holds of a case, in its order, by type: Kafka is away, so it is all still there."""
    client: Any = Redis.from_url(store.url)
    with client:
        rows = [fields for key in client.scan_iter("*:outbox") for _, fields in client.xrange(key)]
    mine = [fields for fields in rows if fields[b"k"] == str(case).encode() and b"ce_type" in fields[b"h"]]
    return [json.loads(fields[b"h"])["ce_type"].removeprefix("cn.jingyi.") for fields in mine]


async def test_with_the_store_killed_f9_is_kept_rung_and_learnt_once_it_is_back(
    settings: Settings, store: Valkey
) -> None:
    case, key = uuid7(), str(uuid4())
    async with intake(settings) as seats:
        await kill(store)
        kept = await seats.presses_f9(case, key)
        assert kept.status_code == 202
        assert kept.json()["saved"] == "journal"
        assert kept.json()["spoken_number"] == spoken_number("0354", case)
        assert [(desk["desk"], desk["number"]) for desk in kept.json()["phone_now"]] == [(POLICE, "0354110")]
        [alarm] = await seats.alarms(case)
        assert (alarm["phase"], alarm["from_memory"], alarm["because"]) == ("ringing", True, "store_silent")
        assert (await seats.presses_f9(case, key)).status_code == 202
        await back(store)
        await eventually(lambda: _is(seats.phase(case), "ringing"))
        assert (await seats.presses_f9(case, key)).status_code == 201
        assert (await escalations(store, case)).count("EscalationRequested") == 1


async def test_a_danger_saved_on_a_call_that_never_could_be_opened_is_not_refused(
    settings: Settings, store: Valkey
) -> None:
    case = uuid7()
    async with intake(settings) as seats:
        await kill(store)
        kept = await seats.saves_danger(case)
        assert (kept.status_code, kept.json()["call"]["counsellor"]) == (202, "seat-1")
        await back(store)
        await eventually(lambda: _is(seats.phase(case), "ringing"))
        assert await escalations(store, case) == ["CallReceived", "ScreeningRecorded", "AlarmRaised"]


async def test_call_number_place_and_brief_given_in_the_silence_are_there_after_it(
    settings: Settings, store: Valkey
) -> None:
    case = uuid7()
    async with intake(settings) as seats:
        await kill(store)
        answers = [
            await seats.opens(case, caller="13800000000"),
            await seats.posts(f"calls/{case}/places", {"confidence": "stated", "text": "汾河桥上"}),
            await seats.posts(f"calls/{case}/briefs", {"name": "某人"}),
            await seats.presses_f9(case),
        ]
        assert [answer.status_code for answer in answers] == [202] * 4
        await back(store)
        await eventually(lambda: _is(seats.phase(case), "ringing"))
        call = (await seats.client.get(f"/cities/{CITY}/calls/{case}")).json()
        assert (call["caller"], call["place_text"], call["brief"]["name"]) == ("13800000000", "汾河桥上", "某人")


async def test_a_drill_opened_in_the_silence_rings_nobody(settings: Settings, store: Valkey) -> None:
    case = uuid7()
    async with intake(settings) as seats:
        await kill(store)
        await seats.opens(case, drill=True)
        assert (await seats.presses_f9(case)).status_code == 202
        assert await seats.alarms(case) == []


async def test_who_phones_in_the_silence_is_in_the_ledger_before_anybody_hears_of_the_cry(
    settings: Settings, store: Valkey
) -> None:
    case = uuid7()
    async with intake(settings) as seats:
        await kill(store)
        await seats.presses_f9(case)
        assert (await seats.claims(case)).status_code == 202
        refused = await seats.claims(case, by="seat-1")
        assert (refused.status_code, refused.json()["code"]) == (409, "alarm_claimed")
        [alarm] = await seats.alarms(case)
        assert (alarm["phase"], alarm["claimed_by"]) == ("claimed", "seat-2")
        await back(store)
        await eventually(lambda: _is(seats.phase(case), "claimed"))
        said = await escalations(store, case)
        assert said == ["CallReceived", "EscalationRequested", "AlarmRaised", "AlarmClaimed"]
        assert (await seats.settles(case)).status_code == 201


async def test_a_desk_settled_in_the_silence_is_settled_after_it(settings: Settings, store: Valkey) -> None:
    case = uuid7()
    async with intake(settings) as seats:
        await kill(store)
        await seats.presses_f9(case)
        await seats.claims(case)
        assert (await seats.settles(case)).status_code == 202
        assert await seats.alarms(case) == []
        await back(store)
        await eventually(lambda: _is(seats.phase(case), "settled"))
        assert await seats.alarms(case) == []


async def test_a_row_that_stood_before_rings_from_memory_and_the_claim_on_it_is_learnt(
    settings: Settings, store: Valkey
) -> None:
    case = uuid7()
    async with intake(settings) as seats:
        assert (await seats.presses_f9(case)).status_code == 201
        assert await seats.alarms(case) == []
        await kill(store)
        begun = asyncio.get_running_loop().time()
        await eventually(lambda: _rings(seats, case), within=10)
        assert asyncio.get_running_loop().time() - begun > 1.5
        assert (await seats.claims(case)).status_code == 202
        await back(store)
        await eventually(lambda: _is(seats.phase(case), "claimed"))
        said = await escalations(store, case)
        assert said == ["CallReceived", "EscalationRequested", "AlarmRaised", "AlarmClaimed"]


async def test_a_store_that_hangs_is_waited_for_once_and_what_it_did_late_is_not_done_twice(
    settings: Settings, store: Valkey
) -> None:
    case, other = uuid7(), uuid7()
    async with intake(settings) as seats:
        assert (await seats.opens(case)).status_code == 201
        freeze(store)
        begun = asyncio.get_running_loop().time()
        assert (await seats.saves_danger(case, "one-key")).status_code == 202
        assert asyncio.get_running_loop().time() - begun < 5
        begun = asyncio.get_running_loop().time()
        assert (await seats.presses_f9(other)).status_code == 202
        assert asyncio.get_running_loop().time() - begun < 1
        freeze(store, signal.SIGCONT)
        await eventually(lambda: _is(seats.phase(other), "ringing"))
        assert (await seats.saves_danger(case, "one-key")).status_code in {201, 202}
        await eventually(lambda: _learnt(seats))
        assert (await escalations(store, case)).count("ScreeningRecorded") == 1
        assert (await escalations(store, other)).count("EscalationRequested") == 1


async def test_t5_the_same_key_with_another_cry_is_another_cry_in_the_silence_too(
    settings: Settings, store: Valkey
) -> None:
    case, key = uuid7(), str(uuid4())
    async with intake(settings) as seats:
        await kill(store)
        for reason in ("他说今晚", "别的话", "别的话"):
            kept = await seats.posts(f"calls/{case}/escalations", {"reason": reason}, key=key)
            assert kept.status_code == 202
        await back(store)
        await eventually(lambda: _learnt(seats))
        assert (await escalations(store, case)).count("EscalationRequested") == 2


async def test_what_was_kept_outlives_the_process_rings_again_and_is_learnt_before_the_door_opens(
    settings: Settings, store: Valkey
) -> None:
    case, key = uuid7(), str(uuid4())
    async with intake(settings) as seats:
        await kill(store)
        await seats.presses_f9(case, key)
        await seats.claims(case)
    async with intake(settings) as seats:
        [alarm] = await seats.alarms(case)
        assert (alarm["phase"], alarm["from_memory"]) == ("claimed", True)
        assert (await seats.presses_f9(case, key)).status_code == 202
    await back(store)
    async with intake(settings) as seats:
        assert await seats.phase(case) == "claimed"
        assert (await seats.presses_f9(case, key)).status_code == 201
        assert (await escalations(store, case)).count("EscalationRequested") == 1


async def test_with_a_journal_that_cannot_be_written_the_store_alone_does_and_without_it_the_seat_is_told_to_phone(
    settings: Settings, store: Valkey
) -> None:
    settings.journal.write_text("a file where the folder should be")
    case, other = uuid7(), uuid7()
    async with intake(settings) as seats:
        assert (await seats.presses_f9(case)).status_code == 201
        await kill(store)
        refused = await seats.presses_f9(other)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert "0354110" in refused.json()["detail"]
        assert spoken_number("0354", other) in refused.json()["detail"]
        await eventually(lambda: _is(seats.ready(), 503))


async def test_it_is_ready_and_degraded_without_store_and_kafka_and_says_what_it_cannot_do(
    settings: Settings, store: Valkey
) -> None:
    await kill(store)
    case = uuid7()
    async with intake(settings) as seats:
        ready = (await seats.client.get("/health/ready")).json()
        assert (ready["status"], ready["away"]) == ("degraded", ["store", "kafka"])
        ended = await seats.posts(f"calls/{case}/end", {"how": "completed"})
        unknown = await seats.posts(f"calls/{case}/briefs", {"name": "某人"})
        claimed = await seats.claims(case)
        assert [answer.status_code for answer in (ended, unknown, claimed)] == [503, 503, 503]
        assert "not known here" in unknown.json()["detail"]


async def test_an_emptied_store_stops_nothing_and_its_lost_rows_ring(settings: Settings, store: Valkey) -> None:
    case, next_one = uuid7(), uuid7()
    async with intake(settings) as seats:
        await seats.presses_f9(case)
        with Redis.from_url(store.url) as client:
            client.flushall()
        await eventually(lambda: _rings(seats, case), within=10)
        assert (await seats.presses_f9(next_one)).status_code in {201, 202}


async def test_the_auditor_reads_every_standing_row_also_without_the_store(settings: Settings, store: Valkey) -> None:
    case = uuid7()
    peer = {"authorization": f"Bearer {settings.peer_token('auditor')}"}
    async with intake(settings) as seats:
        await seats.presses_f9(case)
        page = (await seats.client.get("/ledger", headers=peer)).json()
        assert page["from_memory"] is False
        assert [(row["case"], row["drill"], row["due_at"] is not None) for row in page["rows"]] == [
            (str(case), False, True)
        ]
        await kill(store)
        page = (await seats.client.get("/ledger", headers=peer)).json()
        assert (page["from_memory"], [row["case"] for row in page["rows"]]) == (True, [str(case)])
        assert (await seats.client.get("/ledger", headers={"authorization": "Bearer x"})).status_code == 401


async def _is(found: Any, wanted: object) -> bool:
    return bool(await found == wanted)


async def _rings(seats: Seats, case: UUID) -> bool:
    return any(alarm["from_memory"] for alarm in await seats.alarms(case))


async def _learnt(seats: Seats) -> bool:
    alarms = (await seats.client.get(f"/cities/{CITY}/alarms")).json()
    return bool(alarms) and not any(alarm["from_memory"] for alarm in alarms)


async def test_d11_an_act_of_another_release_is_set_aside_and_the_door_opens(
    settings: Settings,
) -> None:
    case, strange = uuid7(), uuid4()
    journal = FileJournal(settings.journal / "journal-test", settings.masters)
    of_another_release = {"what": "telepathy", "case": str(case), "body": {}}
    for entry, what in ((strange, of_another_release), (uuid4(), {"what": "escalation"}), (uuid4(), "words")):
        journal.write_entry(entry, what)
    journal.close()
    async with intake(settings) as seats:
        assert (await seats.presses_f9(case)).status_code == 201
    journal.open()
    assert journal.open_entries[strange] == of_another_release
    assert len(journal.open_entries) == 3
    journal.close()
