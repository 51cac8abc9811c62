"""Intake whole, with a real SMS gateway: who is told what, when nobody comes for a person in danger."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import yaml
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.kafka import Cluster
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from services.hotline_intake.service import build
from shared.contract.city import Cities, City
from shared.contract.terms import spoken_number
from shared.kernel.process.platform import Platform
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from shared.notify.bell import PAUSE, Bell
from tests.local.gateway import Gateway, gateway
from tests.support.a_city import pack
from tests.support.generations import begin_generation

CITY = "140200"
OTHER = "140300"
"""A line of its own for the test whose intake dies."""

CLOCKS = {"assess_by": 1, "ring_at": 1, "outside_at": 1.5, "ring_again": 2, "ring_untaken": 1, "next_person": 60}
PACK = pack(
    CITY,
    area_code="0352",
    clocks=CLOCKS,
    desks={},
    on_call={"name": "值班督导", "number": "1", "channels": ["CHANNEL_FIRST"]},
    next_on_call=[{"name": "热线负责人", "number": "2", "channels": ["CHANNEL_NEXT", "CHANNEL_UNSET"]}],
)
DESKS = {
    "110": {"name": "大同110", "name_en": "Datong 110", "number": "0352110"},
    "120": {"name": "大同120", "name_en": "Datong 120", "number": "0352120"},
}


@pytest_asyncio.fixture(scope="module")
async def channel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """The gateway, as a process."""
    async with gateway(tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture(scope="module")
def settings(
    kafka: Cluster, valkey: Valkey, channel: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Settings]]:
    """Two lines, by city, whose chain of two people is reached through the gateway."""

    def of(city: str) -> Settings:
        folder = tmp_path_factory.mktemp(city)
        pack = PACK | {"code": city, "desks": {f"{city}-{kind}": desk for kind, desk in DESKS.items()}}
        (folder / f"{city}.yaml").write_text(yaml.safe_dump(pack, allow_unicode=True), encoding="utf-8")
        (folder / "master.keys").write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
        where: dict[str, Any] = {"cities": folder, "master_keys": folder / "master.keys", "journal": folder / "journal"}
        return Settings(redis_url=valkey.url, kafka=kafka.bootstrap, port=free(1)[0], instance=city, **where)

    begin_generation(valkey.url)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHANNEL_FIRST", channel.url("first"))
        environment.setenv("CHANNEL_NEXT", channel.url("next"))
        yield of


@pytest_asyncio.fixture(scope="module")
async def intake(kafka: Cluster, settings: Callable[[str], Settings]) -> AsyncIterator[httpx.AsyncClient]:
    """Intake, and a seat that talks to it."""
    await topics.create(kafka.bootstrap, topics.listed())
    told = settings(CITY)
    async with running_service(build, told), seat_at(told) as seat:
        yield seat


@asynccontextmanager
async def seat_at(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A seat whose intake is ready."""
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-1"}
    async with httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False) as seat:
        await until_ready(seat)
        yield seat


async def until_ready(seat: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if (await seat.get("/health/ready")).json()["status"] in {"ready", "degraded"}:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def case(intake: httpx.AsyncClient, channel: Gateway) -> AsyncIterator[UUID]:
    """An F9 for 110 and 120 that nobody hears; settled at the end."""
    await channel.behave()
    call = UUID(str(uuid7()))
    await post(intake, f"calls/{call}/escalations", desks=["110", "120"])
    yield call
    for desk in ("110", "120"):
        await settle(intake, call, desk)


async def post(intake: httpx.AsyncClient, path: str, *, city: str = CITY, **body: Any) -> httpx.Response:
    return await intake.post(f"/cities/{city}/{path}", json=body, headers={"idempotency-key": str(uuid4())})


async def settle(intake: httpx.AsyncClient, case: UUID, desk: str) -> None:
    body = {"desk": f"{CITY}-{desk}", "officer": "1", "event_no": f"E-{desk}"}
    await post(intake, f"alarms/{case}/settlements", **body)


async def sent(channel: Gateway, case: UUID, count: int, what: str = "message") -> list[tuple[str, str]]:
    """What the gateway was given about this case so far, as (to, words), once there are `count`."""
    async with asyncio.timeout(30):
        while True:
            lines = [line for line in await channel.log() if spoken_number("0352", case) in line["words"]]
            found = [(line["to"], line["words"]) for line in lines if line["what"] == what]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


async def listed(intake: httpx.AsyncClient, case: UUID, city: str = CITY) -> list[dict[str, Any]]:
    alarms = (await intake.get(f"/cities/{city}/alarms")).json()
    return [alarm for alarm in alarms if alarm["case"] == str(case)]


async def test_the_first_of_the_chain_is_told_what_to_phone_and_nothing_else(
    intake: httpx.AsyncClient, channel: Gateway, case: UUID
) -> None:
    [first, again] = (await sent(channel, case, 2))[:2]
    words = f"【警医】{spoken_number('0352', case)} 请立即拨打 大同110 0352110、大同120 0352120 phone now"
    assert first == again == ("first", words)
    alarms = await listed(intake, case)
    assert [alarm["rings"] for alarm in alarms] == [["seat-1", "seat-2", "督导 supervisor", "值班督导"]] * 2


async def test_a_claim_stops_the_rings_and_giving_it_back_starts_them_and_the_end_is_told(
    intake: httpx.AsyncClient, channel: Gateway, case: UUID
) -> None:
    await sent(channel, case, 1)
    await settle(intake, case, "120")
    await post(intake, f"alarms/{case}/claims", desk=f"{CITY}-110")
    await asyncio.sleep(PAUSE + 0.5)
    before = len(await sent(channel, case, 1))
    await asyncio.sleep(3)
    assert len(await sent(channel, case, 1)) == before
    await post(intake, f"alarms/{case}/releases", desk=f"{CITY}-110")
    rung = (await sent(channel, case, before + 1))[-1]
    assert rung[1].endswith("请立即拨打 大同110 0352110 phone now")
    await settle(intake, case, "110")
    ended = [words for _, words in await sent(channel, case, before + 2) if "请立即拨打" not in words]
    assert [words.split(" ", 1)[1] for words in ended] == ["大同120 已接警 has it", "大同110 已接警 has it"]


async def test_a_channel_that_fails_is_noticed_and_the_next_person_is_told_once_it_works(
    intake: httpx.AsyncClient, channel: Gateway
) -> None:
    await channel.behave(error=True)
    case = UUID(str(uuid7()))
    await post(intake, f"calls/{case}/escalations", desks=["110"])
    await sent(channel, case, 3, "refused")
    [alarm] = await listed(intake, case)
    assert alarm["taken"] is False
    await channel.behave()
    assert {to for to, _ in await sent(channel, case, 2)} == {"first", "next"}
    await settle(intake, case, "110")


async def test_a_drill_rings_nobody(intake: httpx.AsyncClient, channel: Gateway) -> None:
    case = UUID(str(uuid7()))
    await intake.put(f"/cities/{CITY}/calls/{case}", json={"drill": True})
    await post(intake, f"calls/{case}/escalations", desks=["110"])
    await asyncio.sleep(4)
    assert await sent(channel, case, 0) == []
    assert await listed(intake, case) == []


async def test_an_intake_that_dies_before_it_told_anybody_is_made_good_by_the_next(
    settings: Callable[[str], Settings], intake: httpx.AsyncClient, channel: Gateway
) -> None:
    async def dies(urls: Sequence[str], words: str) -> bool:
        await asyncio.Event().wait()
        return False

    told, case = settings(OTHER), UUID(str(uuid7()))
    async with running_service(build, told, platform=Platform(tell=dies)), seat_at(told) as seat:
        await post(seat, f"calls/{case}/escalations", city=OTHER, desks=["110"])
        async with asyncio.timeout(20):
            while not [alarm for alarm in await listed(seat, case, OTHER) if alarm["taken"] is False]:
                await asyncio.sleep(0.1)
    assert await sent(channel, case, 0) == []
    async with running_service(build, told), seat_at(told) as seat:
        assert {to for to, _ in await sent(channel, case, 2)} == {"first", "next"}
        await post(seat, f"alarms/{case}/settlements", city=OTHER, desk=f"{OTHER}-110", officer="1", event_no="E")


async def test_a_line_that_can_tell_nobody_says_so_once_and_names_the_variable() -> None:
    nobody: Any = None
    mute = City.model_validate(PACK | {"code": OTHER, "desks": {}, "on_call": {"name": "x", "number": "-"}})
    mute = mute.model_copy(update={"next_on_call": ()})
    cities = Cities([City.model_validate(PACK | {"desks": {}}), mute])
    with capture_logs() as said:
        await Bell(cities, nobody, {"CHANNEL_FIRST": "json://127.0.0.1:1/secret"}).check_channels()
    assert {(line["event"], line["city"], line.get("variable")) for line in said} == {
        ("screens_alone_ring", OTHER, None),
        ("no_channel", CITY, "CHANNEL_NEXT"),
        ("no_channel", CITY, "CHANNEL_UNSET"),
    }
    assert {line["signal"] for line in said} == {"warning"}
