"""A simulated desk keeps its word: one answer and one car a key, its own log, and reports until they are heard."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from deploy.local.desk_behaviour import Behaviour, reply
from deploy.local.process import Process
from shared.contract.terms import Rung
from tests.local.desk_world import SECRET, TRACE, Desk, Hotline, desk, hotline
from tests.support.eventually import eventually

POLICE, AMBULANCE = "140700-110", "140700-120"
POLICE_LADDER = ["accepted", "assigned", "en_route", "arrived", "contact", "cleared"]
AMBULANCE_LADDER = [*POLICE_LADDER[:-1], "transporting", "handed_over", "cleared"]


@pytest_asyncio.fixture(scope="module")
async def seat() -> AsyncIterator[Hotline]:
    async with hotline() as listening:
        yield listening


@pytest_asyncio.fixture(scope="module")
async def police(seat: Hotline, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with desk(POLICE, tmp_path_factory.mktemp("police"), seat.url) as running:
        yield running


@pytest.fixture
def case() -> UUID:
    return uuid4()


async def test_the_same_order_again_gets_the_same_answer_and_no_second_car(police: Desk, case: UUID) -> None:
    await police.behaves(answer="at_once")
    answers = [(await police.gets(police.order(case, attempt=n))).json() for n in (1, 2, 3)]
    assert answers[0]["status"] == "accepted"
    assert answers[0] == answers[1] == answers[2]
    log = await police.log(f"{case}/{POLICE}/1")
    assert (log["attempts"], log["incidents"]) == (3, 1)
    assert [line["attempt"] for line in log["lines"] if line["what"] == "posted"] == [1, 2, 3]


async def test_two_cases_get_two_event_numbers(police: Desk) -> None:
    await police.behaves(answer="at_once")
    first, second = [(await police.gets(police.order(uuid4()))).json() for _ in range(2)]
    assert first["event_no"] != second["event_no"]


async def test_an_accepted_order_is_reported_up_the_ladder_in_order(police: Desk, seat: Hotline, case: UUID) -> None:
    await police.behaves(scale=0.0005)
    assert (await police.gets(police.order(case))).json() == {"status": "delivered"}
    key = f"{case}/{POLICE}/1"
    await seat.hears(key, "cleared")
    assert seat.rungs(key) == POLICE_LADDER
    accepted, cleared = seat.of(key)[0], seat.of(key)[-1]
    assert accepted["officer"]
    assert accepted["event_no"].startswith("110-")
    assert cleared["code"] == "assisted"
    assert {told["traceparent"] for told in seat.of(key)} == {TRACE}


async def test_an_ambulance_brings_the_person_to_hospital(seat: Hotline, tmp_path: Path, case: UUID) -> None:
    async with desk(AMBULANCE, tmp_path, seat.url) as ambulance:
        await ambulance.behaves(answer="accept", scale=0.0005)
        assert (await ambulance.gets(ambulance.order(case))).json()["status"] == "accepted"
        await seat.hears(f"{case}/{AMBULANCE}/1", "cleared")
        assert seat.rungs(f"{case}/{AMBULANCE}/1") == AMBULANCE_LADDER[1:]


async def test_a_report_nobody_takes_is_repeated_under_the_same_id(police: Desk, seat: Hotline, case: UUID) -> None:
    await police.behaves(delays={}, scale=0)
    seat.deaf = 2
    await police.gets(police.order(case))
    await seat.hears(key := f"{case}/{POLICE}/1", "accepted")
    await eventually(lambda: len(seat.of(key)) == 3, within=5)
    assert len({told["id"] for told in seat.of(key)}) == 1


async def test_a_desk_killed_in_the_middle_goes_on_where_it_was(seat: Hotline, tmp_path: Path, case: UUID) -> None:
    key = f"{case}/{POLICE}/1"
    async with desk(POLICE, tmp_path, seat.url) as mortal:
        await mortal.behaves(delays={"assigned": 0, "arrived": 1.5, "cleared": 0}, scale=1, accept_after=0)
        first = (await mortal.gets(mortal.order(case))).json()
        await seat.hears(key, "assigned")
        await mortal.die()
        await mortal.start()
        assert (await mortal.gets(mortal.order(case, attempt=2))).json() == first
        await seat.hears(key, "cleared")
        log = await mortal.log(key)
        behaviour = (await mortal.client.get(f"{mortal.control}/behaviour")).json()
    # What it had said and not yet noted when it was killed, it says again.
    assert list(dict.fromkeys(seat.rungs(key))) == ["accepted", "assigned", "arrived", "cleared"]
    assert (log["attempts"], log["incidents"], log["to_say"]) == (2, 1, [])
    assert behaviour["delays"] == {"assigned": 0, "arrived": 1.5, "cleared": 0}


async def test_a_rejection_has_a_code_and_stands(police: Desk, case: UUID) -> None:
    await police.behaves(answer="reject", code="out_of_area")
    assert (await police.gets(police.order(case))).json() == {"status": "rejected", "code": "out_of_area"}
    await police.behaves(answer="at_once")
    assert (await police.gets(police.order(case))).json() == {"status": "rejected", "code": "out_of_area"}
    assert (await police.log(f"{case}/{POLICE}/1"))["incidents"] == 0


async def test_a_silent_desk_speaks_only_once_a_person_takes_it_up(police: Desk, seat: Hotline, case: UUID) -> None:
    key = f"{case}/{POLICE}/1"
    await police.behaves(answer="silent")
    assert (await police.gets(police.order(case))).json() == {"status": "delivered"}
    assert seat.of(key) == []
    late = {"key": key, "answer": "accept"}
    assert (await police.client.post(f"{police.url}/answer", json=late)).status_code == 202
    await seat.hears(key, "accepted")
    assert (await police.client.post(f"{police.url}/answer", json=late)).status_code == 409


@pytest.mark.parametrize(
    ("answer", "code", "status"), [("garbage", None, 200), ("error", None, 500), ("error", "503", 503)]
)
async def test_a_desk_whose_system_fails_has_made_no_incident_and_takes_the_next_attempt(
    police: Desk, case: UUID, answer: str, code: str | None, status: int
) -> None:
    await police.behaves(answer=answer, code=code)
    failed = await police.gets(police.order(case))
    assert failed.status_code == status
    assert "accepted" not in failed.text
    await police.behaves(answer="at_once")
    assert (await police.gets(police.order(case, attempt=2))).json()["status"] == "accepted"
    log = await police.log(f"{case}/{POLICE}/1")
    assert (log["attempts"], log["incidents"]) == (2, 1)


async def test_an_answer_that_comes_too_late_has_still_sent_one_car(police: Desk, case: UUID) -> None:
    await police.behaves(answer="at_once", slow=1)
    with pytest.raises(httpx.ReadTimeout):
        await police.gets(police.order(case), patience=0.2)
    await police.behaves(answer="at_once")
    assert (await police.gets(police.order(case, attempt=2))).json()["status"] == "accepted"
    assert (await police.log(f"{case}/{POLICE}/1"))["incidents"] == 1


async def test_a_desk_that_is_down_refuses_connections_until_it_is_told_to_come_back(police: Desk, case: UUID) -> None:
    await police.behaves(down=True)
    with pytest.raises(httpx.ConnectError):
        await police.gets(police.order(case))
    assert (await police.client.get(f"{police.control}/health/ready")).json()["down"] is True
    await police.behaves(answer="at_once")
    assert (await police.gets(police.order(case))).json()["status"] == "accepted"


async def test_a_car_that_has_not_arrived_can_be_called_back(police: Desk, seat: Hotline, case: UUID) -> None:
    key = f"{case}/{POLICE}/1"
    await police.behaves(answer="accept", scale=1, delays={"assigned": 0, "arrived": 60})
    await police.gets(police.order(case))
    await seat.hears(key, "assigned")
    cancel = police.order(case, type="call_out.cancel")
    assert (await police.gets(cancel)).json() == {"status": "cancelled"}
    await seat.hears(key, "cancelled")
    assert (await police.gets(cancel)).json() == {"status": "cancelled"}
    assert (await police.log(key))["to_say"] == []


async def test_a_car_that_has_arrived_stays(police: Desk, seat: Hotline, case: UUID) -> None:
    key = f"{case}/{POLICE}/1"
    await police.behaves(answer="accept", scale=1, delays={"arrived": 0, "cleared": 0.3})
    await police.gets(police.order(case))
    await seat.hears(key, "arrived")
    cancelled = await police.gets(police.order(case, type="call_out.cancel"))
    assert cancelled.json() == {"status": "rejected", "code": "on_scene"}
    await seat.hears(key, "cleared")


async def test_an_order_that_comes_after_its_own_cancellation_sends_nobody(police: Desk, case: UUID) -> None:
    await police.behaves(answer="at_once")
    assert (await police.gets(police.order(case, type="call_out.cancel"))).json() == {"status": "cancelled"}
    assert (await police.gets(police.order(case))).json() == {"status": "rejected", "code": "cancelled"}


@pytest.mark.parametrize(
    "changed",
    [{"desk": AMBULANCE}, {"n": 2}, {"reports_to": None}, {"reports_to": "nowhere"}, {"type": "call_out.guess"}],
)
async def test_what_is_not_for_this_desk_is_turned_away(police: Desk, case: UUID, changed: dict[str, object]) -> None:
    assert (await police.gets(police.order(case, **changed))).status_code == 422
    assert (await police.log(f"{case}/{POLICE}/1")) == {"lines": []}


async def test_what_nobody_signed_is_turned_away(police: Desk, case: UUID) -> None:
    unsigned = await police.client.post(f"{police.url}/callouts", json=police.order(case))
    assert unsigned.status_code == 401
    assert (await police.log(f"{case}/{POLICE}/1")) == {"lines": []}


async def test_the_log_says_which_fields_came_and_never_what_was_in_them(police: Desk, case: UUID) -> None:
    await police.behaves(answer="at_once")
    await police.gets(police.order(case))
    [incident] = [line for line in (await police.log(f"{case}/{POLICE}/1"))["lines"] if line["what"] == "incident"]
    assert incident["brief_fields"] == ["means"]
    assert "药" not in (police.state / "log.jsonl").read_text()


async def test_a_behaviour_no_desk_can_have_is_refused(police: Desk) -> None:
    for nonsense in ({"answer": "perhaps"}, {"accept_after": -1}, {"delays": {"flying": 1}}, {"unknown": 1}):
        assert (await police.client.post(f"{police.url}/behaviour", json=nonsense)).status_code == 422


async def test_a_second_desk_in_the_same_folder_says_why_it_cannot_start(police: Desk, tmp_path: Path) -> None:
    told = {
        "JINGYI_DESK": POLICE,
        "JINGYI_PORT": "0",
        "JINGYI_SECRET": SECRET,
        "JINGYI_DESK_STATE": str(police.state),
    }
    second = await Process.start("second", (sys.executable, "-m", "deploy.local.desk"), log=tmp_path / "log", env=told)
    assert await second.wait() == 1
    assert "Another desk already keeps its log" in second.last_words()


@pytest.mark.parametrize("answer", ["accept", "at_once", "deliver_then_accept"])
def test_a_desk_that_is_to_accept_does_so_exactly_once(answer: str) -> None:
    said = reply(Behaviour(answer=answer), "110")
    accepted = [step for step in said.steps if step.rung is Rung.ACCEPTED]
    assert (said.body == {"status": "accepted"}) != bool(accepted)
    assert [step.after for step in said.steps] == sorted(step.after for step in said.steps)
