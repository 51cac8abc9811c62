"""剧本: a timeline of what caller, counsellors and desks do, played through the real HTTP APIs and nothing else."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.cli.client import ADAPTER, DISPATCH, INTAKE, Client, Refused
from deploy.cli.timeline import Story, Wanted
from deploy.local.trouble import Trouble
from shared.contract.terms import DeskId

FOLDER = Path(__file__).parents[1] / "local" / "scenarios"
PATIENCE = 45.0
"""Seconds a step waits for what it follows: longer than the slowest clock of a scenario, the alarm's 20 s."""

ROUTES: Mapping[str, tuple[str, str]] = {
    "open": (INTAKE, "/cities/{city}/calls/{case}"),
    "place": (INTAKE, "/cities/{city}/calls/{case}/places"),
    "brief": (INTAKE, "/cities/{city}/calls/{case}/briefs"),
    "screen": (INTAKE, "/cities/{city}/calls/{case}/screenings"),
    "escalate": (INTAKE, "/cities/{city}/calls/{case}/escalations"),
    "end": (INTAKE, "/cities/{city}/calls/{case}/end"),
    "plan_follow_up": (INTAKE, "/cities/{city}/calls/{case}/follow-up-plan"),
    "claim": (INTAKE, "/cities/{city}/alarms/{case}/claims"),
    "release": (INTAKE, "/cities/{city}/alarms/{case}/releases"),
    "settle": (INTAKE, "/cities/{city}/alarms/{case}/settlements"),
    "order": (DISPATCH, "/cities/{city}/incidents/{case}/orders"),
    "cancel": (DISPATCH, "/cities/{city}/incidents/{case}/cancellations"),
    "stand_down": (DISPATCH, "/cities/{city}/incidents/{case}/stand-down"),
    "contact": (DISPATCH, "/cities/{city}/incidents/{case}/contact"),
    "absence": (DISPATCH, "/cities/{city}/incidents/{case}/absence"),
    "close": (DISPATCH, "/cities/{city}/incidents/{case}/closing"),
    "claim_task": (ADAPTER, "/cities/{city}/callouts/{callout}/claims"),
    "report": (ADAPTER, "/cities/{city}/callouts/{callout}/reports"),
}
"""Each act of ours as the request it is. `callout` is desk/case/n."""


class Read(BaseModel):
    """A part of a scenario file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Both(Read):
    """The same in both languages."""

    zh: str
    en: str


class After(Read):
    """An event that must have been said first: the name of its type, and fields it must have."""

    event: str
    having: dict[str, Any] = {}


class Step(Read):
    """At `at` seconds, and not before `after`, `who` says something or acts; `to` is the desk/n of a phone report.

    A desk's only act is `behave`: what it then says, it says on its own. `refused` is the code of an expected no.
    """

    at: Annotated[float, Field(ge=0)] = 0
    after: After | None = None
    who: str
    says: Both | None = None
    act: str | None = None
    to: tuple[DeskId, int] | None = None
    body: dict[str, Any] = {}
    refused: str | None = None


class Scenario(Read):
    """A whole play. `desks` behave so from the start, by their names in the local system: desk_110, desk_120."""

    title: Both
    city: str
    desks: dict[str, dict[str, Any]]
    timeline: tuple[Step, ...]


def names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read(name: str) -> Scenario:
    """The scenario of that name. Trouble if there is none, or if it does not hold."""
    file = FOLDER / f"{name}.yaml"
    if not file.exists():
        raise Trouble(f"There is no scenario {name}; there are {', '.join(names())}.")
    try:
        scenario = Scenario.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as wrong:
        raise Trouble(f"{file.name} is no scenario: {wrong}") from None
    unknown = {step.act for step in scenario.timeline} - ROUTES.keys() - {None, "behave"}
    if unknown:
        raise Trouble(f"{file.name}: nobody can {', '.join(map(str, unknown))}.")
    return scenario


@dataclass(frozen=True)
class Player:
    """Plays one scenario for one case. `pace` below 1 is faster: our people's waits and the desks' shrink alike."""

    scenario: Scenario
    client: Client
    story: Story
    pace: float = 1.0
    heard: Callable[[Step], None] = lambda _: None
    denied: Callable[[Refused], None] = lambda _: None

    async def play(self) -> None:
        """To its last step. Trouble names the step that could not be played."""
        started = asyncio.get_running_loop().time()
        for desk, behaviour in self.scenario.desks.items():
            await self._behave(desk, behaviour)
        for step in self.scenario.timeline:
            await asyncio.sleep(started + step.at * self.pace - asyncio.get_running_loop().time())
            await self._until(step)
            self.heard(step)
            if step.act:
                await self._act(step, step.act)

    async def _until(self, step: Step) -> None:
        if step.after is None:
            return
        wanted = Wanted(step.after.event, step.after.having)
        if not await self.story.tells(wanted, PATIENCE):
            raise Trouble(f"{step.who} waited {PATIENCE:.0f} s for {wanted} before going on; it never came.")

    async def _act(self, step: Step, act: str) -> None:
        if act == "behave":
            await self._behave(step.who, step.body)
            return
        try:
            await self._request(step, act)
        except Refused as refusal:
            if refusal.code != step.refused:
                raise Trouble(f"{step.who} could not {act}: {refusal}") from None
            self.denied(refusal)
            return
        if step.refused:
            raise Trouble(f"{step.who} was allowed to {act}, which had to be refused as {step.refused}.")

    async def _request(self, step: Step, act: str) -> None:
        client, case = self.client.acting(step.who), self.story.case
        service, pattern = ROUTES[act]
        desk, n = step.to or ("", 0)
        path = pattern.format(city=self.scenario.city, case=case, callout=f"{desk}/{case}/{n}")
        await (client.put if act == "open" else client.act)(service, path, step.body)

    async def _behave(self, desk: str, told: Mapping[str, Any]) -> None:
        await self.client.desk(desk, "/behaviour", {**told, "scale": told.get("scale", 1) * self.pace})
