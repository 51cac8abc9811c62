"""The auditor whole, on the real Kafka, beside an intake and an adapter that say what a test wants."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
import yaml
from fastapi import FastAPI, HTTPException
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.folders import ROOT
from deploy.local.kafka import Cluster
from deploy.local.kafka import kafka as running_kafka
from deploy.local.ports import free
from services.auditor.auditor import Auditor
from services.auditor.service import running
from shared.contract.callouts import CallOutAccepted, CallOutCleared, CallOutDelivered
from shared.contract.calls import EscalationRequested
from shared.contract.event import Event
from shared.contract.incidents import CallOutOrdered, IncidentOpened
from shared.contract.terms import ECHO, Situation, desk_id, spoken_number
from shared.kernel.clock import now
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from shared.kernel.process.http_server import http_server
from shared.kernel.process.platform import Platform
from shared.kernel.process.settings import Settings
from tests.support.eventually import eventually

CITY, POLICE = "140700", "140700-110"


@dataclass
class Neighbours:
    """An intake with a ledger and an adapter, and everybody's way to Kafka; and what the auditor said outside."""

    producer: Any
    rows: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    callouts: list[dict[str, Any]] = field(default_factory=list)
    dead: bool = False
    adapter_dead: bool = False
    drills: int = 0
    echoes: bool = True
    rang: list[tuple[float, str]] = field(default_factory=list)

    async def tell(self, _: Any, words: str) -> bool:
        self.rang.append((time.monotonic(), words))
        return True

    def rung_for(self, case: UUID) -> list[str]:
        return [words for _, words in self.rang if spoken_number("0354", case) in words]

    def app(self) -> FastAPI:
        app = FastAPI()

        def alive(dead: bool) -> None:
            if dead:
                raise HTTPException(503)

        @app.get("/ledger")
        async def ledger() -> dict[str, Any]:
            alive(self.dead)
            return {"rows": list(self.rows.values())}

        @app.get("/callouts")
        async def callouts() -> list[dict[str, Any]]:
            alive(self.adapter_dead)
            return self.callouts

        @app.post("/drills/{city}/{case}", status_code=202)
        async def drill(city: str, case: UUID) -> dict[str, str]:
            alive(self.dead)
            self.drills += 1
            if self.echoes:
                await self.echo(city, case)
            return {}

        return app

    async def echo(self, city: str, case: UUID) -> None:
        about = {"case": case, "city": city, "at": now(), "desk": desk_id(city, ECHO), "n": self.drills}
        await self.ordered(case, desk_id(city, ECHO), n=self.drills, drill=True)
        await self.say(CallOutAccepted(**about, event_no="echo"), drill=True)
        await self.say(CallOutCleared(**about, code="drill"), drill=True)

    async def say(self, event: Event, *, cause: str = "", drill: bool = False, topic: str = "", **named: str) -> None:
        """As the service that says it, under an id of its own, unless others are named."""
        headers = {"ce_type": event.type_name(), "ce_id": str(uuid4()), "ce_source": source_of(event.service)}
        headers |= {"ce_city": CITY, **named}
        headers |= {"ce_cause": cause} if cause else {}
        headers |= {"ce_drill": "true"} if drill else {}
        value, key = event.model_dump_json().encode(), str(event.case).encode()
        raw = [(name, text.encode()) for name, text in headers.items()]
        await self.producer.send_and_wait(topic or event.topic, value, key=key, headers=raw)

    async def cries(self, case: UUID) -> str:
        """F9; the id of the cry."""
        cry = str(uuid4())
        await self.say(EscalationRequested(**at(case), by="seat-1", situation=Situation()), ce_id=cry)
        return cry

    async def opened(self, case: UUID, cry: str) -> None:
        incident = IncidentOpened(**at(case), reasons=("f9",), situation=Situation(), desks=(POLICE,))
        await self.say(incident, cause=cry)

    async def ordered(self, case: UUID, desk: str = POLICE, n: int = 1, *, drill: bool = False) -> None:
        order = {**at(case), "desk": desk, "n": n, "reasons": ("f9",), "situation": Situation()}
        await self.say(CallOutOrdered(**order, accept_by=now()), drill=drill)

    def awaits(self, case: UUID, due_in: float, phase: str = "awaited") -> None:
        """The ledger has a row of it."""
        due = (now() + timedelta(seconds=due_in)).isoformat()
        desk = {"desk": POLICE, "phase": phase, "since": now().isoformat(), "due_at": due}
        about = {"case": str(case), "city": CITY, "spoken_number": spoken_number("0354", case), "drill": False}
        self.rows[case] = {**about, "armed_at": now().isoformat(), "desks": [desk]}


def at(case: UUID) -> dict[str, Any]:
    return {"case": case, "city": CITY, "at": now()}


@dataclass
class Scene:
    near: Neighbours
    auditor: Auditor
    http: httpx.AsyncClient

    async def beats(self) -> bool:
        try:
            return (await self.http.get("/heartbeat")).status_code == 200
        except httpx.ConnectError:
            return False

    async def finds(self, what: str, case: UUID) -> bool:
        return any((one.what, one.case) == (what, case) for one in self.auditor.findings)


@asynccontextmanager
async def auditing(near: Neighbours, settings: Settings) -> AsyncIterator[Scene]:
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "supervisor-1"}
    async with (
        httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False) as http,
        running(settings, Platform(tell=near.tell)) as auditor,
    ):
        yield Scene(near, auditor, http)


@pytest_asyncio.fixture(scope="module")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A broker of its own: the auditor reads a day back, and would find what other tests have left undone."""
    async with running_kafka(tmp_path_factory.mktemp("audited")) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module")
async def near(kafka: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Neighbours, Settings]]:
    await topics.create(kafka.bootstrap, topics.listed())
    ours, theirs = free(2)
    beside = f"http://127.0.0.1:{theirs}"
    cities = tmp_path_factory.mktemp("cities")
    pack = yaml.safe_load((ROOT / "deploy" / "cities" / f"{CITY}.yaml").read_text(encoding="utf-8"))
    pack["on_call"]["channels"] = ["CHANNEL"]
    (cities / f"{CITY}.yaml").write_text(yaml.safe_dump(pack, allow_unicode=True), encoding="utf-8")
    settings = Settings(
        kafka=kafka.bootstrap,
        port=ours,
        cities=cities,
        master_keys=Path("unread"),
        doors={"hotline_intake": beside, "responder_adapter": beside},
    )
    async with KafkaBus(kafka.bootstrap).producer() as producer:
        near = Neighbours(producer)
        server = http_server(near.app(), settings.model_copy(update={"port": theirs}))
        work = asyncio.create_task(server.serve())
        try:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("CHANNEL", "json://127.0.0.1:1/")
                yield near, settings
        finally:
            server.should_exit = True
            await work


@pytest_asyncio.fixture(scope="module")
async def scene(near: tuple[Neighbours, Settings]) -> AsyncIterator[Scene]:
    async with auditing(*near) as scene:
        await eventually(scene.beats)
        yield scene


async def test_it_beats_while_everything_agrees_and_the_drill_comes_back(scene: Scene) -> None:
    case = UUID(str(uuid7()))
    scene.near.awaits(case, 600)
    cry = await scene.near.cries(case)
    await scene.near.opened(case, cry)
    await scene.near.ordered(case)
    await scene.near.say(CallOutDelivered(**at(case), desk=POLICE, n=1))
    await asyncio.sleep(17)
    beat = (await scene.http.get("/heartbeat")).json()
    assert (beat["agrees"], beat["findings"]) == (True, {})
    assert beat["drills"][CITY] < 60
    assert scene.near.rung_for(case) == []


async def test_an_order_that_nobody_delivers_is_found_and_stops_the_beat_until_it_is(scene: Scene) -> None:
    case = UUID(str(uuid7()))
    scene.near.awaits(case, 600)
    cry = await scene.near.cries(case)
    await scene.near.opened(case, cry)
    await scene.near.ordered(case)
    took = await eventually(lambda: scene.finds("untaken", case))
    assert 9 < took < 25
    assert not await scene.beats()
    assert scene.near.rung_for(case) == []
    await scene.near.say(CallOutDelivered(**at(case), desk=POLICE, n=1))
    await eventually(scene.beats)


async def test_a_cry_that_only_kafka_knows_is_rung_for(scene: Scene) -> None:
    case = UUID(str(uuid7()))
    cry = await scene.near.cries(case)
    took = await eventually(lambda: asyncio.sleep(0, bool(scene.near.rung_for(case))))
    assert 9 < took < 25
    await scene.near.opened(case, cry)
    await scene.near.say(CallOutAccepted(**at(case), desk=POLICE, n=1, event_no="E-1"))
    await eventually(scene.beats)


async def test_s6_what_another_service_says_does_not_quiet_the_auditor(scene: Scene) -> None:
    case = UUID(str(uuid7()))
    cry = await scene.near.cries(case)
    accepted = CallOutAccepted(**at(case), desk=POLICE, n=1, event_no="E-1")
    opened = IncidentOpened(**at(case), reasons=("f9",), situation=Situation(), desks=(POLICE,))
    for event in (opened, accepted):
        await scene.near.say(event, ce_cause=cry, ce_source="/jingyi/hotline_intake")
    await eventually(lambda: asyncio.sleep(0, bool(scene.near.rung_for(case))))
    for event in (opened, accepted):
        await scene.near.say(event, ce_cause=cry)
    await eventually(scene.beats)


async def test_a_persons_danger_in_a_dead_letter_topic_rings_at_once(scene: Scene) -> None:
    case, drill = UUID(str(uuid7())), UUID(str(uuid7()))
    told = {"by": "seat-1", "situation": Situation()}
    await scene.near.say(EscalationRequested(**at(case), **told), topic="hotline.calls.dlq")
    await scene.near.say(EscalationRequested(**at(drill), **told), topic="hotline.calls.dlq", drill=True)
    assert await eventually(lambda: asyncio.sleep(0, bool(scene.near.rung_for(case)))) < 15
    assert scene.near.rung_for(drill) == []
    assert (await scene.http.get("/heartbeat")).json()["warnings"]["dead_letters"] == 2


async def test_with_intake_dead_it_rings_from_its_mirror_at_the_rows_moment(scene: Scene) -> None:
    waits, taken = UUID(str(uuid7())), UUID(str(uuid7()))
    scene.near.awaits(waits, 8)
    scene.near.awaits(taken, 60, "claimed")
    await asyncio.sleep(1.5)
    scene.near.dead = True
    try:
        took = await eventually(lambda: asyncio.sleep(0, bool(scene.near.rung_for(waits))), within=20)
        assert 5 < took < 12
        assert scene.near.rung_for(taken) == []
    finally:
        scene.near.dead = False
        scene.near.rows.clear()


async def test_it_has_the_accounts_again_after_a_restart(scene: Scene, near: tuple[Neighbours, Settings]) -> None:
    case = UUID(str(uuid7()))
    await scene.near.cries(case)
    neighbours, settings = near
    async with auditing(neighbours, settings.model_copy(update={"port": free(1)[0]})) as second:
        await eventually(lambda: asyncio.sleep(0, case in second.auditor.reader.accounts))
        await eventually(second.beats)
        lines = (await second.http.get("/accounts")).json()["lines"]
        assert [line["fate"] for line in lines if line["case"] == str(case)] == ["under_way"]


async def test_an_adapter_that_does_not_answer_stops_the_beat(scene: Scene) -> None:
    scene.near.adapter_dead = True
    try:
        await eventually(
            lambda: asyncio.sleep(0, any(one.what == "silent" for one in scene.auditor.findings)), within=45
        )
        assert not await scene.beats()
    finally:
        scene.near.adapter_dead = False
