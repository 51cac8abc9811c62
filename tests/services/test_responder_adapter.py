"""The responder adapter whole, on the real store and the real log, with desks that are real servers."""

import asyncio
import base64
import gzip
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import yaml
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.folders import ROOT
from deploy.local.kafka import Cluster
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from services.responder_adapter.desk_reports_api import DeskReport
from services.responder_adapter.service import build
from services.responder_adapter.wires import MOST_AT_ONCE
from services.responder_adapter.wires.signature import sign
from shared.contract.calls import AlarmClaimed, AlarmReleased, AlarmSettled
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered
from shared.contract.terms import Confidence, Place, Situation, Tier, callout_key
from shared.kernel.clock import now
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from shared.kernel.machine.vault import Vault, key_name
from shared.kernel.process.service import ServiceProcess, running_service
from shared.kernel.process.settings import Settings
from tests.services.desk_server import Desk, Reply, http, says, serving
from tests.support.eventually import eventually
from tests.support.generations import begin_generation
from tests.support.guessing import everything, recovered, spellings

CITY = "140700"
POLICE, MEDICAL, FIRE, ECHO_DESK = "140700-110", "140700-120", "140700-119", "140700-000"
SECRETS = {
    desk: "whsec_" + base64.b64encode(f"the secret of desk {desk}".encode()).decode() for desk in (POLICE, MEDICAL)
}
BRIEF = {"callback": "13800001111", "sex": "女", "weapon": "刀", "substance": "安眠药", "name": "张三", "means": "服药"}
DELIVERED = says(status="delivered")


@dataclass
class Line:
    """The hotline as the adapter hears it, its seats, and its two wired desks."""

    settings: Settings
    process: ServiceProcess
    seat: httpx.AsyncClient
    police: Desk
    medical: Desk
    vaults: dict[UUID, Vault] = field(default_factory=dict)

    async def situation(self, case: UUID) -> Situation:
        vault = Vault(self.settings.masters, self.process.store)
        brief = await vault.seal(case, "brief", BRIEF, city=CITY)
        text = await vault.seal(case, "place", "迎宾街 1 号 502", city=CITY)
        if wrapped := vault.pending_key(case, CITY):
            await self.process.store.ask("SET", key_name(case, CITY), wrapped)
        return Situation(place=Place(confidence=Confidence.READ_BACK, city=CITY, text=text), brief=brief)

    async def orders(self, case: UUID, *desks: str, drill: bool = False) -> None:
        situation = await self.situation(case)
        about = {"case": case, "city": CITY, "n": 1, "tier": Tier.IMMINENT, "reasons": ("acute",), "at": now()}
        for desk in desks:
            await self.hears(CallOutOrdered(**about, desk=desk, situation=situation, accept_by=now()), drill=drill)

    async def hears(self, event: Event, *, drill: bool = False) -> None:
        headers = [("ce_type", event.type_name().encode()), ("ce_id", str(uuid4()).encode())]
        headers += [("ce_source", source_of(event.service).encode())]
        headers += [("ce_drill", b"true")] if drill else []
        async with KafkaBus(self.settings.kafka).producer() as producer:
            value, key = event.model_dump_json().encode(), str(event.case).encode()
            await producer.send_and_wait(event.topic, value, key=key, headers=headers)

    async def stands(self, case: UUID, desk: str, within: float = 15, **wanted: object) -> dict[str, Any]:
        """The call-out once it looks like that."""
        found: dict[str, Any] = {}

        async def looks() -> bool:
            nonlocal found
            answered = await self.seat.get(f"/cities/{CITY}/callouts/{desk}/{case}/1")
            found = answered.json()
            return answered.status_code == 200 and all(found[name] == value for name, value in wanted.items())

        await eventually(looks, within)
        return found

    async def asks(self, case: UUID, desk: str, what: str, **body: str) -> httpx.Response:
        path = f"/cities/{CITY}/callouts/{desk}/{case}/1/{what}"
        return await self.seat.post(path, json=body or None, headers={"idempotency-key": str(uuid4())})

    async def says(
        self, desk: str, body: bytes, webhook_id: str = "", secret: str = "", late: int = 0
    ) -> httpx.Response:
        """A desk's own system reports; `late` seconds by its clock."""
        webhook_id, at = webhook_id or str(uuid4()), int(now().timestamp()) - late
        signature = sign(secret or SECRETS[desk], webhook_id, at, body)
        headers = {"webhook-id": webhook_id, "webhook-timestamp": str(at), "webhook-signature": signature}
        return await self.seat.post(f"/desks/{desk}/reports", content=body, headers=headers)


def came(desk: Desk, case: UUID) -> list[dict[str, Any]]:
    """What the desk was sent about this case."""
    return [body for body in map(json.loads, desk.bodies) if body["case"] == str(case)]


def report(case: UUID, rung: str, desk: str = POLICE, **more: str) -> bytes:
    return json.dumps({"key": callout_key(case, desk, 1), "rung": rung, **more}).encode()


def packs(folder: Path, police: Desk, medical: Desk) -> Path:
    """Jinzhong with two wired desks."""
    pack = yaml.safe_load((ROOT / "deploy" / "cities" / f"{CITY}.yaml").read_text(encoding="utf-8"))
    for desk, server in ((POLICE, police), (MEDICAL, medical)):
        url = f"http://127.0.0.1:{server.port}/callouts"
        pack["desks"][desk]["wire"] = {"kind": "webhook", "url": url, "secret_env": f"SECRET_{desk[-3:]}"}
    (folder / f"{CITY}.yaml").write_text(yaml.safe_dump(pack, allow_unicode=True), encoding="utf-8")
    return folder


@pytest_asyncio.fixture(scope="module")
async def line(kafka: Cluster, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    folder = tmp_path_factory.mktemp("adapter")
    keys = folder / "master.keys"
    keys.write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    await topics.create(kafka.bootstrap, topics.listed())
    begin_generation(valkey.url)
    async with AsyncExitStack() as stack:
        police, medical = [await stack.enter_async_context(serving(DELIVERED)) for _ in range(2)]
        with pytest.MonkeyPatch.context() as patch:
            for desk, secret in SECRETS.items():
                patch.setenv(f"SECRET_{desk[-3:]}", secret)
            settings = Settings(
                redis_url=valkey.url,
                kafka=kafka.bootstrap,
                port=free(1)[0],
                cities=packs(folder, police, medical),
                master_keys=keys,
                instance="adapter-test",
            )
            headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-2"}
            seat = httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False)
            process = await stack.enter_async_context(running_service(build, settings))
            yield Line(settings, process, await stack.enter_async_context(seat), police, medical)


@pytest.fixture(autouse=True)
def desks_behave(line: Line) -> None:
    line.police.reply = line.medical.reply = DELIVERED


@pytest.fixture
def case() -> UUID:
    return uuid7()


async def test_both_desks_get_the_order_each_with_its_own_fields(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE, MEDICAL)
    for desk in (POLICE, MEDICAL):
        await line.stands(case, desk, rung="delivered")
    [police], [medical] = came(line.police, case), came(line.medical, case)
    assert (police["key"], police["attempt"], police["drill"]) == (callout_key(case, POLICE, 1), 1, False)
    assert police["place"] == {"confidence": "read_back", "text": "迎宾街 1 号 502", "city": CITY}
    assert police["brief"].keys() - medical["brief"].keys() == {"weapon", "name", "means"}
    assert medical["brief"].keys() - police["brief"].keys() == {"substance"}
    assert police["reports_to"] == f"{line.settings.base_url}/desks/{POLICE}/reports"


async def test_the_desks_reports_climb_the_ladder_and_each_is_taken_once(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, rung="delivered")
    accepted = report(case, "accepted", officer="041207", event_no="E-1", at=now().isoformat())
    for _ in range(2):
        answered = await line.says(POLICE, accepted, webhook_id="msg-" + str(case))
        assert (answered.status_code, answered.json()["rung"]) == (200, "accepted")
    assert (await line.says(POLICE, report(case, "arrived"))).json()["rung"] == "arrived"
    assert (await line.says(POLICE, report(case, "accepted", event_no="E-2"))).json()["disputed"] is True
    found = await line.stands(case, POLICE, rung="arrived", event_no="E-1")
    assert [step["rung"] for step in found["steps"]] == ["delivered", "accepted", "arrived"]


async def test_s1_what_a_desk_answers_and_reports_leaves_no_hash_to_try_it_against(line: Line, case: UUID) -> None:
    line.police.reply = says(status="accepted", officer="041207", event_no="E-1")
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, rung="accepted")
    assert (await line.says(POLICE, report(case, "arrived", officer="041207"))).status_code == 200
    names = [topic.name for topic in topics.listed()]
    written = await everything(line.settings.redis_url, line.settings.kafka, names, line.settings.cities)
    said = DeskReport.model_validate_json(report(case, "arrived", officer="041207"))
    answered = "Answer(rung=<Rung.ACCEPTED: 'accepted'>, officer='041207', event_no='E-1', code=None)"
    old = [f"{said.key}|{token}|{answered}".encode() for token in range(1, 4)]
    old += [said.model_dump_json(exclude={"at"}).encode(), *spellings(said.model_dump(mode="json", exclude_none=True))]
    assert str(case).encode() in b"".join(written)
    assert recovered(written, old) == []


async def test_a_report_counts_only_from_the_desk_that_was_asked(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, rung="delivered")
    mine = report(case, "arrived")
    for answered, status in (
        (await line.says(POLICE, mine, secret=SECRETS[MEDICAL]), 401),
        (await line.seat.post(f"/desks/{POLICE}/reports", content=mine), 401),
        (await line.seat.post(f"/desks/{FIRE}/reports", content=mine), 401),
        (await line.seat.post("/desks/140700/reports", content=mine), 401),
        (await line.seat.post("/desks/999999-110/reports", content=mine), 401),
        (await line.says(MEDICAL, mine), 403),
        (await line.says(POLICE, report(uuid7(), "arrived")), 404),
        (await line.says(POLICE, b"{"), 400),
        (await line.says(POLICE, b"[]"), 422),
        (await line.says(POLICE, b"\xff\xfe"), 400),
        (await line.says(POLICE, report(case, "on_the_moon")), 422),
        (await line.says(POLICE, report(case, "requested")), 422),
        (await line.says(POLICE, report(case, "accepted")), 422),
        (await line.says(POLICE, report(case, "accepted", event_no="\u3000")), 422),
        (await line.says(POLICE, mine, late=-360), 401),
    ):
        assert (answered.status_code, answered.headers["content-type"]) == (status, "application/problem+json")
    assert (await line.says(POLICE, b" " * 70_000)).status_code == 413
    assert (await line.stands(case, POLICE))["rung"] == "delivered"


@pytest.mark.parametrize(
    "spelled",
    [
        {"rung": " ACCEPTED", "event_no": 20261126001, "officer": 110234},
        {"rung": "Accepted", "event_no": "２０２６1126001", "at": "2026-12-31T23:59:60", "note": {"x": []}},
        {"rung": "accepted", "event_no": "20261126001\u00a0", "officer": " ", "at": None},
    ],
)
async def test_t9_a_desk_that_says_yes_is_heard(line: Line, case: UUID, spelled: dict[str, Any]) -> None:
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, rung="delivered")
    body = json.dumps({"key": callout_key(case, POLICE, 1), **spelled}, ensure_ascii=False)
    for packed in (body.encode("utf-8-sig"), body.encode("utf-16"), gzip.compress(body.encode()), f"[{body}]".encode()):
        answered = await line.says(POLICE, packed, webhook_id=f"yes-{case}")
        assert (answered.status_code, answered.json()["rung"]) == (200, "accepted")
    found = await line.stands(case, POLICE, rung="accepted", event_no="20261126001")
    assert [step["rung"] for step in found["steps"]] == ["delivered", "accepted"]


async def test_t9_a_refused_report_is_logged_and_shown(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, rung="delivered")
    key = callout_key(case, POLICE, 1)
    with capture_logs() as logs:
        await line.says(POLICE, report(case, "accepted", event_no="--"), webhook_id="blank")
        await line.says(POLICE, b"{}", webhook_id="empty")
        await line.says(POLICE, report(case, "arrived"), webhook_id="late", late=360)
        await line.says(POLICE, report(case, "arrived"), webhook_id="wrong", secret=SECRETS[MEDICAL])
        await line.seat.post("/desks/张三/reports", content=report(case, "arrived"))
    refused = [told for told in logs if told["event"] == "desk_report_refused"]
    assert [(told["desk"], told["reason"], told.get("webhook_id"), told.get("key")) for told in refused] == [
        (POLICE, "event_no_missing", "blank", key),
        (POLICE, "not_a_report", "empty", None),
        (POLICE, "clock_off", None, None),
        (POLICE, "unauthorised", None, None),
        ("unknown", "unauthorised", None, None),
    ]
    [off] = [told for told in logs if told["event"] == "desk_clock_off"]
    assert (off["desk"], abs(off["skew_seconds"] + 360) <= 1) == (POLICE, True)
    assert (await line.stands(case, POLICE))["refused_report"]["reason"] == "unauthorised"


async def test_a_desk_that_fails_is_tried_again_under_the_same_key_until_it_has_it(line: Line, case: UUID) -> None:
    line.police.reply = http("500 Oops", b"")
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, last_failure="http_500", attempt=2)
    line.police.reply = DELIVERED
    await line.stands(case, POLICE, rung="delivered")
    tried = came(line.police, case)
    assert {order["key"] for order in tried} == {callout_key(case, POLICE, 1)}
    attempts = [order["attempt"] for order in tried]
    assert attempts == sorted(set(attempts))
    assert len(attempts) >= 2


async def test_a_dead_110_does_not_delay_120(line: Line) -> None:
    async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    line.police.reply = never
    cases = [uuid7() for _ in range(25)]
    await asyncio.gather(*(line.orders(case, POLICE, MEDICAL) for case in cases))
    for case in cases:
        await line.stands(case, MEDICAL, within=3, rung="delivered")
    line.police.reply = DELIVERED
    for case in cases:
        await line.stands(case, POLICE, within=40, rung="delivered")
        assert len({order["attempt"] for order in came(line.police, case)}) == len(came(line.police, case))


def slowly(seconds: float) -> Reply:
    """A desk that takes the order and says so after a while."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await DELIVERED(reader, writer)

    return reply


async def test_l1_l3_fifty_orders_at_once_wait_for_their_turn_and_each_leaves_once(line: Line) -> None:
    """Else waiting makes work: an attempt fails for being late, or is presumed dead in the queue, and is made anew."""
    line.police.reply = slowly(2.5)
    cases = [uuid7() for _ in range(50)]
    await asyncio.gather(*(line.orders(case, POLICE) for case in cases))
    for case in cases:
        await line.stands(case, POLICE, within=20, rung="delivered", attempt=1)
    assert [[order["attempt"] for order in came(line.police, case)] for case in cases] == [[1]] * 50


async def test_l1_an_order_that_a_claim_overtook_while_it_waited_does_not_leave(line: Line, case: UUID) -> None:
    """Else a car comes for whom a person is just phoning."""
    heard = asyncio.Event()

    async def once_heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard.wait()
        await DELIVERED(reader, writer)

    line.police.reply = once_heard
    before = [uuid7() for _ in range(MOST_AT_ONCE)]
    await asyncio.gather(*(line.orders(one, POLICE) for one in before))
    await eventually(lambda: _all_came(line.police, before))
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, attempt=1)
    await line.hears(AlarmClaimed(case=case, city=CITY, at=now(), desk=POLICE, by="seat-1"))
    await line.stands(case, POLICE, status="held")
    heard.set()
    for one in before:
        await line.stands(one, POLICE, rung="delivered")
    after = uuid7()  # one that came later has had its turn: so has the one that waited
    await line.orders(after, POLICE)
    await line.stands(after, POLICE, rung="delivered")
    assert came(line.police, case) == []


async def _all_came(desk: Desk, cases: list[UUID]) -> bool:
    return all(came(desk, case) for case in cases)


async def test_a_desk_by_phone_is_a_task_until_officer_and_event_number_are_taken_down(line: Line, case: UUID) -> None:
    await line.orders(case, FIRE)
    found = await line.stands(case, FIRE, wire="phone")
    assert any("联动编号" in told["words"] for told in found["script"])
    assert case in [UUID(task["case"]) for task in (await line.seat.get(f"/cities/{CITY}/tasks")).json()]
    assert (await line.asks(case, FIRE, "claims")).json()["claimed_by"] == "seat-2"
    incomplete = await line.asks(case, FIRE, "reports", rung="accepted", officer="119007")
    assert (incomplete.status_code, incomplete.json()["code"]) == (422, "event_no_missing")
    taken = await line.asks(case, FIRE, "reports", rung="accepted", officer="119007", event_no="F-1")
    assert (taken.json()["rung"], taken.json()["officer"]) == ("accepted", "119007")
    assert case not in [UUID(task["case"]) for task in (await line.seat.get(f"/cities/{CITY}/tasks")).json()]


async def test_d15_a_poll_reads_only_what_moved_since_the_last_one(line: Line) -> None:
    """Else each seat that looks each second reads every open call-out of every city."""
    cases = [uuid7() for _ in range(40)]
    for case in cases:
        await line.orders(case, FIRE)
    for case in cases:
        await line.stands(case, FIRE, wire="phone")
    seen, sent = [], []
    for _ in range(2):
        before = await sent_by_store(line)
        tasks = (await line.seat.get(f"/cities/{CITY}/tasks")).json()
        sent.append(await sent_by_store(line) - before)
        seen.append({task["case"] for task in tasks})
    assert seen[0] == seen[1]
    assert {str(case) for case in cases} <= seen[1]
    assert sent[1] < sent[0] / 2


async def sent_by_store(line: Line) -> int:
    """Bytes that the store has sent to everybody so far."""
    reply: bytes = await line.process.store.ask("INFO", "stats")
    return int(reply.decode().split("total_net_output_bytes:")[1].split()[0])


async def test_what_a_person_settled_before_the_order_was_heard_is_never_sent(line: Line, case: UUID) -> None:
    about = {"case": case, "city": CITY, "at": now(), "desk": POLICE, "by": "seat-1"}
    await line.hears(AlarmSettled(**about, officer="041207", event_no="E-1"))
    await line.stands(case, POLICE, rung="accepted")
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, wire="phone", event_no="E-1")
    assert came(line.police, case) == []


async def test_nothing_is_sent_while_a_person_phones_and_it_is_sent_when_that_led_nowhere(
    line: Line, case: UUID
) -> None:
    about = {"case": case, "city": CITY, "at": now(), "desk": POLICE}
    await line.hears(AlarmClaimed(**about, by="seat-1"))
    await line.stands(case, POLICE, status="held")
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, wire="webhook", claimed_by="seat-1")
    assert came(line.police, case) == []
    await line.hears(AlarmReleased(**about, because="given_back"))
    await line.stands(case, POLICE, rung="delivered")
    assert len(came(line.police, case)) == 1


async def test_a_desk_is_asked_to_stand_down_by_the_way_of_its_order(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE)
    await line.stands(case, POLICE, rung="delivered")
    line.police.reply = says(status="cancelled")
    about = {"case": case, "city": CITY, "at": now(), "desk": POLICE, "n": 1}
    await line.hears(CallOutCancelRequested(**about, reason="contact_made", by="seat-1"))
    await line.stands(case, POLICE, status="ended", rung="cancelled")
    order, cancellation = came(line.police, case)
    assert (cancellation["type"], cancellation["key"]) == ("call_out.cancel", order["key"])
    assert "brief" not in cancellation


async def test_a_drill_never_reaches_a_desk_that_agreed_to_none(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE, FIRE, drill=True)
    for desk in (POLICE, FIRE):
        await line.stands(case, desk, rung="rejected", code="drill_not_allowed")
    assert came(line.police, case) == []


async def test_the_echo_desk_accepts_a_drill_at_once_and_clears_it(line: Line, case: UUID) -> None:
    await line.orders(case, ECHO_DESK, drill=True)
    found = await line.stands(case, ECHO_DESK, rung="cleared", event_no="echo-1")
    assert [step["rung"] for step in found["steps"]] == ["accepted", "cleared"]


async def test_the_echo_desk_takes_nobody_who_is_in_danger(line: Line, case: UUID) -> None:
    await line.orders(case, ECHO_DESK)
    await line.stands(case, ECHO_DESK, rung="rejected", code="not_a_drill")


async def test_nothing_personal_is_said_on_the_log(line: Line, case: UUID) -> None:
    await line.orders(case, POLICE, MEDICAL)
    await line.stands(case, POLICE, rung="delivered")
    async with KafkaBus(line.settings.kafka).reader("responder.callouts") as reader:
        records = [r for found in (await reader.getmany(timeout_ms=2000)).values() for r in found]
    said = b"".join(record.value for record in records)
    assert str(case).encode() in said
    assert not [word for word in (*BRIEF.values(), "迎宾街") if word.encode() in said]
