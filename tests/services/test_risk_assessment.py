"""Risk assessment whole, on the real store and the real log: from a sealed screening to a tier with its words."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.folders import ROOT
from deploy.local.kafka import Cluster
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from services.risk_assessment.handlers import readable_answers
from services.risk_assessment.scale import rate_answers
from services.risk_assessment.service import build
from shared.contract.calls import ScreeningRecorded
from shared.contract.terms import Situation
from shared.kernel.clock import now
from shared.kernel.errors import Malformed
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from shared.kernel.machine.vault import Vault, key_name
from shared.kernel.process.service import ServiceProcess, running_service
from shared.kernel.process.settings import Settings
from tests.support.generations import begin_generation

CITY = "140700"
PLANNED = {"acute-criteria/1": {"plan_72_hours": True}, "cssrs-screener/1": {"1": True}}
CALM = {"cssrs-screener/1": {"1": False}}


@dataclass
class Line:
    """The hotline as risk assessment hears it, and a seat that asks."""

    settings: Settings
    process: ServiceProcess
    seat: httpx.AsyncClient

    async def saves(self, case: UUID, answers: Any, field: str = "answers") -> UUID:
        """Say on the log that a screening was saved, sealed as intake would."""
        vault, screening = Vault(self.settings.masters, self.process.store), uuid4()
        sealed = await vault.seal(case, f"{field}/{screening}", answers, city=CITY)
        if wrapped := vault.pending_key(case, CITY):
            await self.process.store.ask("SET", key_name(case, CITY), wrapped)
        about: dict[str, Any] = {"case": case, "city": CITY, "at": now(), "situation": Situation()}
        await self.hears(ScreeningRecorded(**about, screening=screening, answers=sealed, danger=False), 2)
        return screening

    async def hears(self, event: ScreeningRecorded, times: int) -> None:
        headers = [("ce_type", event.type_name().encode()), ("ce_id", str(uuid4()).encode())]
        headers += [("ce_source", source_of(event.service).encode())]
        async with KafkaBus(self.settings.kafka).producer() as producer:
            for _ in range(times):
                value, key = event.model_dump_json().encode(), str(event.case).encode()
                await producer.send_and_wait(event.topic, value, key=key, headers=headers)

    async def assessed(self, case: UUID, screenings: int = 1) -> dict[str, Any]:
        """The assessment once it has heard of so many screenings."""
        async with asyncio.timeout(15):
            while True:
                answered = await self.seat.get(f"/cities/{CITY}/assessments/{case}")
                found: dict[str, Any] = answered.json()
                if answered.status_code == 200 and len(found["series"]) >= screenings:
                    return found
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module")
async def line(kafka: Cluster, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    keys = tmp_path_factory.mktemp("risk") / "master.keys"
    keys.write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    await topics.create(kafka.bootstrap, topics.listed())
    begin_generation(valkey.url)
    settings = Settings(
        redis_url=valkey.url,
        kafka=kafka.bootstrap,
        port=free(1)[0],
        cities=ROOT / "deploy" / "cities",
        master_keys=keys,
        instance="risk-test",
    )
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-1"}
    seat = httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False)
    async with running_service(build, settings) as process, seat:
        yield Line(settings, process, seat)


@pytest.fixture
def case() -> UUID:
    return uuid7()


async def test_a_saved_screening_becomes_a_tier_with_reasons_in_words(line: Line, case: UUID) -> None:
    screening = await line.saves(case, PLANNED)
    found = await line.assessed(case)
    assert (found["tier"], found["dispatch_now"]) == ("high", True)
    assert [reason["rule"] for reason in found["reasons"]] == ["acute-criteria/1:plan_72_hours", "cssrs-screener/1:1"]
    assert all(reason["zh"] and reason["en"] and reason["source"] for reason in found["reasons"])
    assert [point["screening"] for point in found["series"]] == [str(screening)]


async def test_the_series_shows_how_the_risk_went_over_the_call(line: Line, case: UUID) -> None:
    await line.saves(case, PLANNED)
    await line.saves(case, CALM)
    found = await line.assessed(case, screenings=2)
    assert [point["tier"] for point in found["series"]] == ["high", "none"]


async def test_answers_that_cannot_be_read_go_to_the_dead_letters_and_stop_nothing(line: Line, case: UUID) -> None:
    await line.saves(case, PLANNED, field="brief")
    await line.saves(case, {"horoscope/1": {"药片": True}})
    await line.saves(case, CALM)
    assert [point["tier"] for point in (await line.assessed(case))["series"]] == ["none"]


async def test_answers_in_plain_are_nowhere_on_the_log(line: Line, case: UUID) -> None:
    await line.saves(case, {"horoscope/1": {"药片": True}})
    await line.saves(case, PLANNED)
    await line.assessed(case)
    async with KafkaBus(line.settings.kafka).reader(*(topic.name for topic in topics.listed())) as reader:
        records = [r for found in (await reader.getmany(timeout_ms=2000)).values() for r in found]
    mine = [record for record in records if record.key == str(case).encode()]
    assert mine
    assert not any("药片".encode() in record.value or "horoscope" in str(record.headers) for record in mine)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/cities/{CITY}/assessments/{uuid4()}", 404, "assessment_not_found"),
        (f"/cities/999999/assessments/{uuid4()}", 404, "unknown_city"),
        (f"/cities/{CITY}/assessments/hello", 422, "invalid"),
    ],
)
async def test_what_is_not_there_is_not_found(line: Line, path: str, status: int, code: str) -> None:
    answer = await line.seat.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_nobody_reads_an_assessment_without_saying_who_asks(line: Line, case: UUID) -> None:
    answer = await line.seat.get(f"/cities/{CITY}/assessments/{case}", headers={"authorization": "Bearer guess"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "answers",
    [
        {"cssrs-screener/1": {"5": True}},
        {"cssrs-screener/1": {"4": True, "14": True}},
        {"horoscope/1": {"1": True}, "acute-criteria/1": {"in_progress": True}},
    ],
)
def test_t5_answers_that_mean_danger_are_rated_whatever_stands_beside_them(answers: object) -> None:
    assert rate_answers(readable_answers(answers)).dispatch_now


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        ("text", "answers_unreadable"),
        ({"cssrs-screener/1": {"1": "yes"}}, "answers_unreadable"),
        ({}, "no_answers"),
        ({"horoscope/1": {"1": True}}, "unknown_instrument"),
        ({"cssrs-screener/1": {"14": True}}, "unknown_item"),
        ({"cssrs-screener/1": {"3": True}}, "item_not_asked"),
    ],
)
def test_answers_no_instrument_can_have_are_malformed_and_not_repeated(opened: object, reason: str) -> None:
    with pytest.raises(Malformed) as malformed:
        readable_answers(opened)
    assert str(malformed.value) == reason
