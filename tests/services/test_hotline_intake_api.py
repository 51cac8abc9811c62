"""Intake whole, on the real store and the real log: what a seat can send, what is refused, and when it rings."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import yaml
from redis.asyncio import Redis
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.kafka import Cluster
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from services.hotline_intake.service import build
from shared.contract.calls import CallEvent
from shared.contract.event import Event
from shared.contract.incidents import IncidentOpened
from shared.contract.instruments import CSSRS
from shared.contract.terms import Situation, Tier, spoken_number
from shared.kernel.clock import now
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from shared.kernel.machine.shards import shard_of
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from shared.kernel.process.web import request_id
from tests.support.a_city import pack
from tests.support.generations import begin_generation
from tests.support.guessing import everything, recovered, spellings

CITY = "140700"
POLICE = "140700-110"
DANGER = {"acute-criteria/1": {"plan_72_hours": True}}
CALM = {"cssrs-screener/1": {"1": False, "2": False}}
PACK = pack(clocks={"assess_by": 1, "ring_at": 2, "claim": 1})

Body = dict[str, Any]
Send = Callable[..., Any]


@pytest_asyncio.fixture(scope="module")
async def settings(kafka: Cluster, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A line of our own: one city whose clocks run in seconds."""
    folder = tmp_path_factory.mktemp("intake")
    (folder / f"{CITY}.yaml").write_text(yaml.safe_dump(PACK, allow_unicode=True), encoding="utf-8")
    (folder / "master.keys").write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    await topics.create(kafka.bootstrap, topics.listed())
    begin_generation(valkey.url)
    return Settings(
        redis_url=valkey.url,
        kafka=kafka.bootstrap,
        port=free(1)[0],
        cities=folder,
        master_keys=folder / "master.keys",
        journal=folder / "journal",
        instance="intake-test",
    )


@pytest_asyncio.fixture(scope="module")
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Intake running, and a seat that talks to it."""
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-1"}
    seat = httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False)
    async with running_service(build, settings), seat:
        async with asyncio.timeout(30):
            while not await _is_ready(seat):
                await asyncio.sleep(0.05)
        yield seat


async def _is_ready(seat: httpx.AsyncClient) -> bool:
    try:
        return bool((await seat.get("/health/ready")).json()["status"] in {"ready", "degraded"})
    except httpx.TransportError:
        return False


@pytest.fixture
def case() -> UUID:
    """A call of our own."""
    return uuid7()


async def opened(client: httpx.AsyncClient, case: UUID, **body: Any) -> httpx.Response:
    return await client.put(f"/cities/{CITY}/calls/{case}", json=body)


async def post(client: httpx.AsyncClient, path: str, body: Any, *, key: str | None = None, by: str = "seat-1") -> Any:
    headers = {"idempotency-key": key or str(uuid4()), "x-actor": by}
    return await client.post(f"/cities/{CITY}/{path}", json=body, headers=headers)


async def ringing(client: httpx.AsyncClient, case: UUID) -> list[Body]:
    """The call's alarms, once there are some."""
    async with asyncio.timeout(10):
        while True:
            alarms = (await client.get(f"/cities/{CITY}/alarms")).json()
            if found := [alarm for alarm in alarms if alarm["case"] == str(case)]:
                return found
            await asyncio.sleep(0.05)


async def said(settings: Settings, case: UUID, count: int) -> list[tuple[str, Body]]:
    """What intake has said of a call on the real log: (type, body), once there are `count`."""
    reader = KafkaBus(settings.kafka).reader(CallEvent.topic)
    await reader.start()
    found: list[tuple[str, Body]] = []
    try:
        async with asyncio.timeout(15):
            while len(found) < count:
                for records in (await reader.getmany(timeout_ms=200)).values():
                    mine = [record for record in records if record.key == str(case).encode()]
                    found += [(dict(r.headers)["ce_type"].decode(), json.loads(r.value)) for r in mine]
    finally:
        await reader.stop()
    return found


async def tell(settings: Settings, event: Event) -> None:
    """Say an event as another service would."""
    producer = KafkaBus(settings.kafka).producer()
    await producer.start()
    headers = [("ce_type", event.type_name().encode()), ("ce_id", str(uuid4()).encode())]
    headers += [("ce_source", source_of(event.service).encode())]
    await producer.send_and_wait(
        event.topic, event.model_dump_json().encode(), key=str(event.case).encode(), headers=headers
    )
    await producer.stop()


async def test_a_call_is_opened_once_and_found_open_afterwards(client: httpx.AsyncClient, case: UUID) -> None:
    first = await opened(client, case, caller="13800000000")
    again = await opened(client, case, caller="13800000000")
    other_key = await client.put(
        f"/cities/{CITY}/calls/{case}", json={"caller": "13800000000"}, headers={"idempotency-key": "k"}
    )
    assert [answer.status_code for answer in (first, again, other_key)] == [201, 200, 200]
    assert first.json()["spoken_number"] == spoken_number("0354", case)


async def test_a_call_open_with_another_number_is_refused(client: httpx.AsyncClient, case: UUID) -> None:
    await opened(client, case, caller="13800000000")
    refused = await opened(client, case, caller="13900000000")
    assert (refused.status_code, refused.json()["code"]) == (409, "call_exists")
    assert "1380" not in refused.text


async def test_what_the_seat_wrote_down_can_be_read_by_the_seat_only(
    client: httpx.AsyncClient, settings: Settings, case: UUID
) -> None:
    await opened(client, case, caller="13800000000")
    place = {"confidence": "read_back", "city": CITY, "text": "Flowers Road 7"}
    recorded = await post(client, f"calls/{case}/places", place)
    await post(client, f"calls/{case}/briefs", {"name": "Zhang San", "means": "pills"})
    file = (await client.get(f"/cities/{CITY}/calls/{case}")).json()
    assert "Flowers" not in recorded.text
    assert (file["caller"], file["place_text"], file["brief"]["name"]) == ("13800000000", "Flowers Road 7", "Zhang San")
    on_the_log = json.dumps(await said(settings, case, 3))
    assert not any(plain in on_the_log for plain in ("13800000000", "Flowers", "Zhang", "pills"))


async def test_saved_danger_rings_for_110_when_nobody_assesses_it(client: httpx.AsyncClient, case: UUID) -> None:
    await opened(client, case)
    saved = await post(client, f"calls/{case}/screenings", {"answers": DANGER})
    assert (saved.status_code, saved.json()["danger"]) == (201, True)
    assert saved.json()["call"]["ledger"]["state"] == "watching"
    [alarm] = await ringing(client, case)
    assert (alarm["desk"], alarm["number"], alarm["because"]) == (POLICE, "0354110", "unassessed")
    assert alarm["spoken_number"] == spoken_number("0354", case)


async def test_a_calm_screening_starts_no_clock(client: httpx.AsyncClient, case: UUID) -> None:
    await opened(client, case)
    saved = (await post(client, f"calls/{case}/screenings", {"answers": CALM})).json()
    assert (saved["danger"], saved["call"]["ledger"]["state"]) == (False, "quiet")


async def test_the_same_save_again_is_the_same_screening(
    client: httpx.AsyncClient, settings: Settings, case: UUID
) -> None:
    await opened(client, case)
    first, again = [await post(client, f"calls/{case}/screenings", {"answers": CALM}, key="save-1") for _ in range(2)]
    assert first.json()["screening"] == again.json()["screening"]
    await post(client, f"calls/{case}/end", {"how": "completed"})
    kinds = [kind.removeprefix("cn.jingyi.") for kind, _ in await said(settings, case, 3)]
    assert kinds == ["CallReceived", "ScreeningRecorded", "CallEnded"]


async def test_an_escalation_needs_nothing_else(client: httpx.AsyncClient, case: UUID) -> None:
    headers = {"idempotency-key": "f9"}
    escalated = await client.post(f"/cities/{CITY}/calls/{case}/escalations", headers=headers)
    assert (escalated.status_code, escalated.json()["counsellor"]) == (201, "seat-1")
    [alarm] = await ringing(client, case)
    assert alarm["because"] == "unordered"


async def test_an_alarm_is_claimed_lapses_and_is_settled(client: httpx.AsyncClient, case: UUID) -> None:
    await post(client, f"calls/{case}/escalations", {"desks": ["110"]})
    await ringing(client, case)
    claimed = await post(client, f"alarms/{case}/claims", {"desk": POLICE})
    assert (claimed.status_code, (await ringing(client, case))[0]["claimed_by"]) == (201, "seat-1")
    other = await post(client, f"alarms/{case}/claims", {"desk": POLICE}, by="seat-2")
    assert (other.status_code, other.json()["code"]) == (409, "alarm_claimed")
    await asyncio.sleep(1.2)
    assert (await ringing(client, case))[0]["claimed_by"] is None
    told = {"desk": POLICE, "officer": "012345", "event_no": "JQ-7"}
    settled = await post(client, f"alarms/{case}/settlements", told, by="seat-2")
    assert settled.json()["ledger"]["state"] == "done"
    assert str(case) not in (await client.get(f"/cities/{CITY}/alarms")).text


async def test_an_incident_that_is_heard_of_moves_the_ledger_to_its_desks(
    client: httpx.AsyncClient, settings: Settings, case: UUID
) -> None:
    await opened(client, case)
    await post(client, f"calls/{case}/screenings", {"answers": DANGER})
    why: Body = {"tier": Tier.HIGH, "reasons": ("r",), "situation": Situation()}
    await tell(settings, IncidentOpened(case=case, city=CITY, at=now(), desks=(POLICE, "140700-120"), **why))
    async with asyncio.timeout(10):
        while len(await ringing(client, case)) < 2:
            await asyncio.sleep(0.05)
    ledger = (await client.get(f"/cities/{CITY}/calls/{case}")).json()["ledger"]
    assert {desk["desk"]: desk["n"] for desk in ledger["desks"]} == {POLICE: 1, "140700-120": 1}


async def test_the_standard_plan_has_five_contacts_and_a_refusal_can_be_planned(
    client: httpx.AsyncClient, case: UUID
) -> None:
    await opened(client, case)
    standard = await post(client, f"calls/{case}/follow-up-plan", {"standard": True})
    assert len(standard.json()["follow_ups"]) == 5
    own = {"follow_ups": [{"due": "2099-01-02", "agreed": False}, {"due": "2099-01-01"}]}
    planned = (await post(client, f"calls/{case}/follow-up-plan", own)).json()["follow_ups"]
    assert planned == [{"due": "2099-01-01", "agreed": True}, {"due": "2099-01-02", "agreed": False}]


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("calls/{case}/screenings", {"answers": {"horoscope/1": {"1": True}}}, (422, "unknown_instrument")),
        ("calls/{case}/screenings", {"answers": {}}, (422, "no_answers")),
        ("calls/{case}/screenings", {"answers": {"cssrs-screener/1": {"3": True}}}, (422, "item_not_asked")),
        ("calls/{case}/screenings", {"answers": {"cssrs-screener/1": {"1": "yes"}}}, (422, "invalid")),
        ("calls/{case}/places", {"confidence": "stated", "city": "510100"}, (422, "area_code_needed")),
        ("calls/{case}/places", {"confidence": "sure"}, (422, "invalid")),
        ("calls/{case}/briefs", {"diagnosis": "x"}, (422, "invalid")),
        ("calls/{case}/end", {"how": "exploded"}, (422, "invalid")),
        ("calls/{case}/follow-up-plan", {}, (422, "follow_ups_needed")),
        ("calls/{case}/follow-up-plan", {"follow_ups": [{"due": "2020-01-01"}]}, (422, "follow_up_in_the_past")),
        ("alarms/{case}/claims", {"desk": POLICE}, (409, "desk_not_awaited")),
        ("alarms/{case}/settlements", {"desk": POLICE}, (422, "invalid")),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, case: UUID, path: str, body: Body, refusal: tuple[int, str]
) -> None:
    before = (await opened(client, case)).json()
    refused = await post(client, path.format(case=case), body)
    assert (refused.status_code, refused.json()["code"]) == refusal
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await opened(client, case)).json() == before


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/cities/140700/calls/{other}", 404, "call_unknown"),
        ("/cities/999999/calls/{other}", 404, "unknown_city"),
        ("/cities/140700/calls/hello", 422, "case_not_uuid7"),
        ("/cities/140700/calls/6f1d7a52-3c0e-4d3b-9a55-123561101200", 422, "case_not_uuid7"),
        ("/cities/999999/alarms", 404, "unknown_city"),
    ],
)
async def test_what_is_not_there_is_not_found(
    client: httpx.AsyncClient, case: UUID, path: str, status: int, code: str
) -> None:
    answer = await client.get(path.format(other=case))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_calm_screening_on_a_call_that_nobody_opened_is_not_taken(
    client: httpx.AsyncClient, case: UUID
) -> None:
    refused = await post(client, f"calls/{case}/screenings", {"answers": CALM})
    assert (refused.status_code, refused.json()["code"]) == (404, "call_unknown")


ODD_CRIES: list[tuple[bytes, list[str]]] = [
    (b"", []),
    (b"null", []),
    (b"{}", []),
    (b'{"reason": ""}', ["reason"]),
    (b'{"reason": null, "desks": []}', []),
    (b'{"reason": 7, "desks": "110"}', ["desks", "reason"]),
    (b'{"desks": ["110", "999", ""]}', ["desks"]),
    (b'{"desks": ["999"]}', ["desks"]),
    (b'{"desks": [' + b'"110",' * 20 + b'"110"]}', ["desks"]),
    (b'{"seat": "\xe4\xba\x8c", "reason": "x"}', ["\u2026"]),
    (b'\xef\xbb\xbf{"reason": "x"}', []),
    (b'{"reason": "\xff"}', []),
    (b"reason=x", ["json"]),
    (b"[1, 2]", ["body"]),
    (b"[" * 30_000, ["json"]),
    (b'{"reason": "' + b"x" * 5000 + b'"}', ["reason"]),
]


@pytest.mark.parametrize(("body", "ignored"), ODD_CRIES)
async def test_t5_f9_is_taken_whatever_its_body_is(
    client: httpx.AsyncClient, case: UUID, body: bytes, ignored: list[str]
) -> None:
    for content_type in ("application/json", "text/plain", ""):
        headers = {"idempotency-key": str(uuid4()), "content-type": content_type}
        taken = await client.post(f"/cities/{CITY}/calls/{case}/escalations", content=body, headers=headers)
        assert (taken.status_code, taken.json()["ledger"]["state"]) == (201, "watching")
        assert sorted(taken.json()["ignored"]) == sorted(ignored)


@pytest.mark.parametrize("key", [None, "", "a b", "k" * 200])
async def test_t5_f9_and_danger_need_no_key(client: httpx.AsyncClient, case: UUID, key: str | None) -> None:
    headers = {} if key is None else {"idempotency-key": key}
    for path, body in (("escalations", {}), ("screenings", {"answers": DANGER})):
        taken = await client.post(f"/cities/{CITY}/calls/{case}/{path}", json=body, headers=headers)
        assert taken.status_code == 201
    refused = await client.post(f"/cities/{CITY}/calls/{case}/screenings", json={"answers": CALM}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "idempotency_key_needed")


@pytest.mark.parametrize("actor", ["", "seat 1", "坐席一", "s" * 60])
async def test_t5_f9_and_danger_need_no_name(client: httpx.AsyncClient, case: UUID, actor: str) -> None:
    headers = {"idempotency-key": "f9", "x-actor": actor.encode()}
    for path, body in (("escalations", {}), ("screenings", {"answers": DANGER})):
        taken = await client.post(f"/cities/{CITY}/calls/{case}/{path}", json=body, headers=headers)  # type: ignore[arg-type]
        assert (taken.status_code, taken.json()["ignored"]) == (201, ["x-actor"])
    calm = await client.post(f"/cities/{CITY}/calls/{case}/screenings", json={"answers": CALM}, headers=headers)  # type: ignore[arg-type]
    assert (calm.status_code, calm.json()["code"]) == (401, "actor_needed")


async def test_t5_another_cry_under_the_same_key_is_another_cry(client: httpx.AsyncClient, case: UUID) -> None:
    first = await post(client, f"calls/{case}/escalations", {"desks": ["120"]}, key="f9")
    other = await post(client, f"calls/{case}/escalations", {"desks": ["110"]}, key="f9")
    again = await post(client, f"calls/{case}/escalations", {"desks": ["110"]}, key="f9")
    assert [first.status_code, other.status_code, again.status_code] == [201, 201, 201]


@pytest.mark.parametrize(
    ("answers", "ignored"),
    [
        ({"cssrs-screener/1": {"5": True}}, []),
        ({"cssrs-screener/1": {"2": False, "4": True}}, []),
        ({"cssrs-screener/1": {"4": True, "9": True}}, ["answers"]),
        ({**DANGER, "horoscope/1": {"1": True}}, ["answers"]),
        ({"acute-criteria/1": {"in_progress": "yes", "plan_72_hours": "perhaps"}}, ["answers"]),
        ({"acute-criteria/1": {"in_progress": 1}}, []),
        ({**DANGER, "cssrs-screener/1": "none"}, ["answers"]),
    ],
)
async def test_t5_a_danger_answer_is_taken_whatever_stands_beside_it(
    client: httpx.AsyncClient, case: UUID, answers: Body, ignored: list[str]
) -> None:
    saved = await post(client, f"calls/{case}/screenings", {"answers": answers})
    assert (saved.status_code, saved.json().get("danger"), saved.json().get("ignored")) == (201, True, ignored)
    assert saved.json()["call"]["ledger"]["state"] == "watching"
    besides = await post(client, f"calls/{case}/screenings", {"answers": answers, "seat": 2})
    assert (besides.status_code, besides.json()["ignored"]) == (201, [*ignored, "\u2026"])


@pytest.mark.parametrize("caller", ["anonymous", "", "未知", 7, None, "110'; --"])
async def test_t5_a_call_is_opened_whatever_its_callers_number_is(
    client: httpx.AsyncClient, case: UUID, caller: object
) -> None:
    answer = await client.put(f"/cities/{CITY}/calls/{case}", json={"caller": caller, "line": 2})
    assert (answer.status_code, "\u2026" in answer.json()["ignored"]) == (201, True)
    assert ("caller" in answer.json()["ignored"]) is (caller is not None)


async def test_t5_who_cannot_be_helped_here_is_told_to_phone(client: httpx.AsyncClient, case: UUID) -> None:
    for path in (f"/cities/999999/calls/{case}/escalations", f"/cities/{CITY}/calls/1/escalations"):
        refused = await client.post(path, headers={"idempotency-key": "f9"})
        assert refused.status_code in {404, 422}
        assert "拨打 110" in refused.json()["detail"]
        assert "phone 110 now" in refused.json()["detail"]


def every_answering() -> list[Body]:
    """Every way to answer the screener, with items left out."""
    given = product((None, True, False), repeat=len(CSSRS.items))
    answers = ({i: yes for i, yes in zip(CSSRS.items, one, strict=True) if yes is not None} for one in given)
    return [{"answers": {CSSRS.name: answered}} for answered in answers]


async def test_s1_neither_answers_nor_number_are_found_again_by_trying_all_there_can_be(
    client: httpx.AsyncClient, settings: Settings, case: UUID
) -> None:
    path, opening = f"/cities/{CITY}/calls/{case}", {"caller": "13877712399"}
    answers = {"answers": {CSSRS.name: {"1": True, "2": True, "3": False, "4": True, "5": False, "6_lifetime": False}}}
    assert (await opened(client, case, **opening)).status_code == 201
    assert (await opened(client, case, **opening)).status_code == 200
    for what, body in (("screenings", answers), ("escalations", {"reason": "13877712399"})):
        assert (await post(client, f"calls/{case}/{what}", body)).status_code == 201
    await said(settings, case, 3)
    names = [topic.name for topic in topics.listed()]
    written = await everything(settings.redis_url, settings.kafka, names, settings.journal)
    numbers = [f"1387771{last:04d}" for last in range(10_000)]
    candidates = [text for body in every_answering() for text in spellings(body)]
    candidates += [text for number in numbers for text in (number.encode(), *spellings({"caller": number}))]
    assert str(case).encode() in b"".join(written)
    assert recovered(written, candidates, path) == []
    for body in (answers, opening):  # and the same search finds what was once kept beside each cause, and its id
        sent = json.dumps(body, separators=(",", ":")).encode()
        fingerprint = sha256(sent).hexdigest()[:16]
        assert recovered([fingerprint.encode()], candidates) == [sent]
        assert recovered([str(request_id("seat-1", "PUT", path, fingerprint)).encode()], candidates, path) == [sent]


async def test_s1_a_call_put_twice_at_once_without_a_key_is_open_once(client: httpx.AsyncClient, case: UUID) -> None:
    answers = await asyncio.gather(*(opened(client, case, caller="13877712399") for _ in range(8)))
    assert {answer.status_code for answer in answers} <= {200, 201}


async def test_s9_a_seat_that_repeats_itself_without_end_is_stopped_and_its_cries_for_help_are_not(
    client: httpx.AsyncClient, settings: Settings, case: UUID
) -> None:
    await opened(client, case)
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.hset(f"{shard_of(CITY)}:hotline_intake:call:{CITY}:{case}", "a:seat-1", "2000")
    refused = await post(client, f"calls/{case}/briefs", {"name": "Zhang San"})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_acts")
    for what, body in (("escalations", {}), ("screenings", {"answers": DANGER})):
        assert (await post(client, f"calls/{case}/{what}", body)).status_code == 201
    assert (await post(client, f"calls/{case}/briefs", {"name": "Zhang San"}, by="seat-2")).status_code == 201


async def test_every_answer_is_described(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    routes = [route for path in described["paths"].values() for route in path.values()]
    assert len(routes) == 15
    assert all(route["summary"] and route["description"] for route in routes)
