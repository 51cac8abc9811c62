"""The vocabulary that journeys are written in: a hotline, two desks, and the real system between them."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
import yaml
from redis.asyncio import Redis
from uuid_utils import uuid7

from deploy.cli.client import (
    ADAPTER,
    AUDITOR,
    DISPATCH,
    INTAKE,
    Client,
    Whereabouts,
    call_path,
    connected,
    incident_path,
)
from deploy.cli.timeline import Story, Wanted, following
from deploy.local.supervisor import Program
from deploy.local.system import DESKS, Items, Plan, Running, system
from shared.contract.event import Event
from shared.contract.terms import spoken_number

T = TypeVar("T")

CITY = "140700"
POLICE, AMBULANCE = "desk_110", "desk_120"
IN_PROGRESS = {"acute-criteria/1": {"in_progress": True}}
QUICK = {"assigned": 0.4, "en_route": 0.4, "arrived": 0.8, "contact": 0.4, "cleared": 0.8}
PROMPT = {"answer": "deliver_then_accept", "accept_after": 0.3, "delays": QUICK, "scale": 1, "code": None, "slow": 0}


@dataclass
class Switches:
    """One for each program: while it is off, the supervisor's restart waits. `clocks` are for every city."""

    off: set[str] = field(default_factory=set)
    clocks: dict[str, float] = field(default_factory=dict)

    def items(self, plan: Plan) -> Items:
        """The whole system, with the switches before its programs."""
        for pack in (plan.state / "cities").glob("*.yaml"):
            told = yaml.safe_load(pack.read_text(encoding="utf-8"))
            told["clocks"] = told.get("clocks", {}) | self.clocks
            pack.write_text(yaml.safe_dump(told, allow_unicode=True), encoding="utf-8")
        return tuple(self._switched(item) if isinstance(item, Program) else item for item in plan.items())

    def _switched(self, program: Program) -> Program:
        async def prepare() -> None:
            while program.name in self.off:
                await asyncio.sleep(0.1)
            if program.prepare:
                await program.prepare()

        return replace(program, prepare=prepare)


@dataclass
class World:
    """The system, and everybody's line to it."""

    running: Running
    client: Client
    switches: Switches

    @property
    def where(self) -> Whereabouts:
        return self.client.where

    @asynccontextmanager
    async def call(self) -> AsyncIterator["Incident"]:
        """A caller dials 12356; what becomes of it is heard on the bus."""
        case = UUID(str(uuid7()))
        async with following(self.where.kafka, case, lambda story, said: None) as story:
            yield Incident(self, case, story)

    async def desks_behave(self, **told: Any) -> None:
        for desk in DESKS:
            await self.client.desk(desk, "/behaviour", {**PROMPT, **told})

    @asynccontextmanager
    async def kafka_down(self) -> AsyncIterator[None]:
        """No broker in here; afterwards it is up again with its data."""
        async with self.down("kafka"):
            yield

    @asynccontextmanager
    async def down(self, program: str) -> AsyncIterator[None]:
        """Killed, and not there in here; afterwards it is up again."""
        process = self.running.supervisor.standings[program].process
        assert process is not None
        self.switches.off.add(program)
        self.running.kill(program)
        await process.wait()
        try:
            yield
        finally:
            self.switches.off.discard(program)
            await self.running.until_ready(program)

    async def beats(self) -> bool:
        """Whether the auditor finds that everything agrees."""
        return bool((await self.watch()).get("agrees"))

    async def watch(self) -> dict[str, Any]:
        """The auditor's heartbeat; nothing if it gives none."""
        try:
            answer = await self.client.http.get(f"{self.where.urls[AUDITOR]}/heartbeat")
        except httpx.TransportError:
            return {}
        told: dict[str, Any] = answer.json()
        return told

    async def said_outside(self, words: str) -> int:
        """How often people outside were told exactly this."""
        log = await self.client.desk("channel", "/log")
        return sum(line["what"] == "message" and line["words"] == words for line in log)

    @asynccontextmanager
    async def frozen(self, service: str) -> AsyncIterator[None]:
        """A service that is alive and does nothing."""
        self.running.kill(service, signal.SIGSTOP)
        try:
            yield
        finally:
            self.running.kill(service, signal.SIGCONT)

    async def waiting_rows(self, within: float = 20) -> dict[str, int]:
        """Rows by outbox that Kafka is yet to take, once there are none or the time is up."""
        rows: dict[str, int] = {}
        async with Redis.from_url(self.running.redis_url) as redis:
            for _ in range(round(within * 5)):
                rows = {name.decode(): await redis.xlen(name) async for name in redis.scan_iter("*:outbox")}
                if not any(rows.values()):
                    return {}
                await asyncio.sleep(0.2)
        return {name: count for name, count in rows.items() if count}

    async def told_outside(self, case: UUID) -> list[tuple[str, str]]:
        """By the gateway's own log: who was told what about this case."""
        log = await self.client.desk("channel", "/log")
        spoken = spoken_number("0354", case)
        return [(line["to"], line["words"]) for line in log if line["what"] == "message" and spoken in line["words"]]

    async def alarms(self, case: UUID) -> list[dict[str, Any]]:
        rings = await self.client.get(INTAKE, f"/cities/{CITY}/alarms")
        return [alarm for alarm in rings if alarm["case"] == str(case)]

    async def jingyi(self, *words: str) -> tuple[int, str]:
        """What the command says, and its exit code."""
        command = (sys.executable, "-m", "deploy.cli.main", *words, "--state", str(self.running.state))
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()


@dataclass
class Incident:
    """One person in danger, and all that is done about it."""

    world: World
    case: UUID
    story: Story

    def by(self, actor: str) -> Client:
        return self.world.client.acting(actor)

    async def opens(self, **told: Any) -> None:
        await self.by("seat-1").put(INTAKE, call_path(CITY, self.case), told)

    async def writes(self, what: str, **told: Any) -> Any:
        """The counsellor records: places, briefs, screenings, escalations, end, follow-up-plan."""
        return await self.by("seat-1").act(INTAKE, f"{call_path(CITY, self.case)}/{what}", told)

    async def is_at(self, text: str) -> None:
        await self.writes("places", confidence="read_back", city=CITY, text=text)

    async def saves(self, answers: dict[str, Any] | None = None) -> Any:
        return await self.writes("screenings", answers=answers or IN_PROGRESS)

    async def is_in_danger(self) -> None:
        """A call is taken, the place read back, and danger saved."""
        await self.opens()
        await self.is_at("演示路1号")
        await self.saves()

    async def hears(self, event: str, within: float = 20, **having: Any) -> Event:
        """The event, as soon as it is said."""
        wanted = Wanted(event, having)
        assert await self.story.tells(wanted, within), f"no {wanted} within {within} s of {self.said}"
        return next(one for one in self.story.events if wanted.fits(one))

    async def supervisor(self, act: str, **told: Any) -> Any:
        return await self.by("supervisor-1").act(DISPATCH, f"{incident_path(CITY, self.case)}/{act}", told)

    async def phones(self, act: str, desk: str = POLICE, **told: Any) -> Any:
        """The supervisor at the alarm: claims, settlements, releases."""
        path = f"/cities/{CITY}/alarms/{self.case}/{act}"
        return await self.by("supervisor-1").act(INTAKE, path, {"desk": DESKS[desk], **told})

    async def told_by_phone(self, rung: str, desk: str = POLICE, **told: Any) -> Any:
        path = f"/cities/{CITY}/callouts/{DESKS[desk]}/{self.case}/1/reports"
        return await self.by("supervisor-1").act(ADAPTER, path, {"rung": rung, **told})

    async def counselling_ends(self) -> None:
        await self.writes("end", how="completed")
        await self.writes("follow-up-plan", standard=True)

    async def both_desks_clear(self, within: float = 40) -> None:
        for desk in DESKS.values():
            await self.hears("LegChanged", within, desk=desk, rung="cleared")

    async def closes(self, within: float = 10) -> None:
        """Everything that a closing needs, then the closing; said on the bus, and shown by dispatch."""
        await self.counselling_ends()
        await self.hears("FollowUpNoted")
        await eventually(lambda: self._no_gap(), within)
        await self.supervisor("closing", outcome="safe_at_home")
        await self.hears("IncidentClosed", within)
        assert (await self.shown())["status"] == "closed"

    async def shown(self) -> dict[str, Any]:
        incident: dict[str, Any] = await self.world.client.get(DISPATCH, incident_path(CITY, self.case))
        return incident

    async def _no_gap(self) -> bool:
        return not (await self.shown())["missing"]

    async def callouts_of(self, desk: str) -> dict[str, dict[str, Any]]:
        """By the desk's own log: each call-out of this case it made an incident of, by its n."""
        log = await self.world.client.desk(desk, "/log?lines=false")
        made = {key: told for key, told in log["callouts"].items() if key.startswith(str(self.case))}
        return {key.rpartition("/")[2]: told for key, told in made.items()}

    async def one_car_from(self, desk: str) -> None:
        callouts = await self.callouts_of(desk)
        assert {n: told["incidents"] for n, told in callouts.items()} == {"1": 1}

    def said_once(self) -> None:
        """Each fact of a desk or of the incident was said once, whatever died on the way."""
        once = ("CallOutAccepted", "CallOutAssigned", "CallOutEnRoute", "CallOutArrived", "CallOutContactMade")
        facts = (*once, "CallOutCleared", "CallOutOrdered", "IncidentOpened", "IncidentClosed", "RiskAssessed")
        told = Counter((type(e).__name__, getattr(e, "desk", "")) for e in self.story.events)
        assert {fact: n for fact, n in told.items() if fact[0] in facts and n != 1} == {}
        assert {name for name, _ in told} >= set(facts)

    @property
    def said(self) -> str:
        return ", ".join(type(event).__name__ for event in self.story.events)


async def eventually(so: Callable[[], Awaitable[bool]], within: float) -> None:
    async with asyncio.timeout(within):
        while not await so():
            await asyncio.sleep(0.1)


@asynccontextmanager
async def world(state: Path, **clocks: float) -> AsyncIterator[World]:
    """Everything as real processes on free ports, with its data in `state`; cities with these clocks."""
    switches = Switches(clocks=clocks)
    async with system(state, items=switches.items) as running:
        where = Whereabouts(running.urls, running.kafka, running.api_token)
        async with connected(where, "supervisor-1") as client:
            yield World(running, client, switches)
