"""`jingyi demo`: one joint response from the call to its closing, through the real system, told as it happens."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
import yaml
from uuid_utils import uuid7

from deploy.cli.asked import SEAT, State
from deploy.cli.client import (
    DISPATCH,
    Client,
    Refused,
    Whereabouts,
    connected,
    console,
    done,
    incident_path,
    whereabouts,
)
from deploy.cli.scenario import Player, Scenario, Step, names, read
from deploy.cli.timeline import Story, Wanted, following
from deploy.cli.watch import HEADING, MARGIN, Every, show
from deploy.cli.wording import desk
from deploy.local import folders, packs, record
from deploy.local.ports import Ports
from deploy.local.supervisor import Standing
from deploy.local.supervisor import State as Stands
from deploy.local.system import DESKS, system
from deploy.local.trouble import Trouble
from shared.contract.callouts import CallOutAccepted, CallOutDelivered
from shared.contract.city import City
from shared.contract.terms import spoken_number

DEFAULT = "joint-response"
FAST = 0.35
CLOSED_WITHIN = 10.0
"""Seconds in which a closing that was accepted must be on the bus."""

Name = Annotated[str, typer.Option("--scenario", help=f"One of {', '.join(names())}.")]


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command("demo")(demo)


def demo(
    scenario: Name = DEFAULT,
    fast: Annotated[bool, typer.Option("--fast", help="People and desks wait a third as long.")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Leave the system up until Ctrl-C.")] = False,
    every: Every = False,
    state: State = None,
) -> None:
    """Play one joint response; exit code 0 only if the incident really closed."""
    pace = FAST if fast else 1.0
    done(_demo(lambda where: play(where, read(scenario), pace, every=every), state or folders.run(), stay=stay))


async def _demo(told: Callable[[Whereabouts], Awaitable[UUID]], state: Path, *, stay: bool) -> None:
    async with _up(state) as (where, ours):
        case = await told(where)
        _where_next(case, gone=ours and not stay)
        if ours and stay:
            console.print("Ctrl-C stops the system.")
            await asyncio.Event().wait()


@asynccontextmanager
async def _up(state: Path) -> AsyncIterator[tuple[Whereabouts, bool]]:
    """The system that runs in `state`, or one of our own there for as long as it is needed."""
    if record.find(state) is not None:
        yield whereabouts(state), False
        return
    console.print(f"Starting Kafka, Valkey, four services and two simulated desks in {state}", style="dim")
    async with system(state, _ports(), told=_tell) as running:
        yield Whereabouts(running.urls, running.kafka, running.api_token), True


def _ports() -> Ports:
    """The usual ports, so that later commands find them; free ones where somebody has taken these."""
    usual = Ports.chosen(os.environ, {})
    try:
        usual.check()
    except Trouble:
        return Ports.free()
    return usual


def _tell(standing: Standing) -> None:
    if standing.state in {Stands.READY, Stands.RESTARTING}:
        console.print(f"  {standing.item.name} {standing.state}", style="dim")


async def play(where: Whereabouts, scenario: Scenario, pace: float = 1.0, *, every: bool = False) -> UUID:
    """Play it to its end on a running system. Trouble, in one sentence, unless the incident closed as it should."""
    case = UUID(str(uuid7()))
    spoken = spoken_number(_area_code(scenario.city), case)
    console.print(f"\n{scenario.title.zh}", style="bold")
    console.print(f"{scenario.title.en}\n口述编号 spoken number {spoken}\n")
    console.print(HEADING, style="dim")
    async with (
        connected(where, SEAT) as client,
        _as_before(client, scenario),
        following(where.kafka, case, partial(show, spoken, every=every)) as story,
    ):
        await Player(scenario, client, story, pace, _overheard, _denied).play()
        await closed(client, scenario.city, story)
        one_car_each = await callouts_in_logs(client, scenario, case)
        _summary(story, one_car_each)
    return case


@asynccontextmanager
async def _as_before(client: Client, scenario: Scenario) -> AsyncIterator[None]:
    """The desks go back to their own habits when the play is over, however it ended."""
    try:
        before = {name: await client.desk(name, "/behaviour") for name in scenario.desks}
    except KeyError as missing:
        raise Trouble(f"{missing.args[0]} does not run here; a demo needs the simulated desks of `make run`.") from None
    try:
        yield
    finally:
        for name, behaviour in before.items():
            await client.desk(name, "/behaviour", behaviour)


async def closed(client: Client, city: str, story: Story) -> None:
    """The closing was said on the bus, and dispatch says the same."""
    if not await story.tells(Wanted("IncidentClosed"), CLOSED_WITHIN):
        raise Trouble(f"No IncidentClosed came; look at `jingyi incident {story.case}` and the services' logs.")
    incident = await client.get(DISPATCH, incident_path(city, story.case))
    if incident["status"] != "closed":
        raise Trouble(f"Dispatch says {incident['status']}, not closed; look at `jingyi incident {story.case}`.")


async def callouts_in_logs(client: Client, scenario: Scenario, case: UUID) -> dict[str, int]:
    """How often each desk made an incident of its own of this case, by the desks' own logs: once, or Trouble."""
    made = {}
    for name in scenario.desks:
        log = await client.desk(name, "/log?lines=false")
        made[name] = sum(told["incidents"] for key, told in log["callouts"].items() if key.startswith(f"{case}/"))
        if made[name] != 1:
            raise Trouble(f"{name} made {made[name]} incidents of it instead of one; look at its GET /log.")
    return made


def _area_code(city: str) -> str:
    pack = packs.CITIES / f"{city}.yaml"
    return City.model_validate(yaml.safe_load(pack.read_text(encoding="utf-8"))).area_code


def _overheard(step: Step) -> None:
    if step.says:
        console.print(f"{MARGIN}{step.who}：“{step.says.zh}”  {step.says.en}", style="italic")


def _denied(refusal: Refused) -> None:
    console.print(f"{MARGIN}✗ {refusal}", style="red")


def _summary(story: Story, callouts: dict[str, int]) -> None:
    console.print("\n联动事件已结案 The incident is closed.", style="bold green")
    for name in callouts:
        reached = _seconds(story, DESKS[name], (CallOutDelivered, CallOutAccepted))
        accepted = _seconds(story, DESKS[name], (CallOutAccepted,))
        numbers = [e.event_no for e in story.events if isinstance(e, CallOutAccepted) and e.desk == DESKS[name] and e.n]
        called = desk(DESKS[name], "").zh.partition("@")[0]
        console.print(
            f"  {called}：保存→送达 saved to delivered {reached}，→签收 accepted {accepted}，编号 no. {numbers[-1]}，"
            f"其自身日志 its own log: {callouts[name]} 次 call-out",
        )


def _seconds(story: Story, desk_id: str, kinds: tuple[type[Any], ...]) -> str:
    last = max((e.n for e in story.events if isinstance(e, kinds) and e.desk == desk_id), default=0)
    at = [e.at for e in story.events if isinstance(e, kinds) and e.desk == desk_id and e.n == last]
    return f"{(at[0] - story.saved_at).total_seconds():.3f} s" if at and story.saved_at else "—"


def _where_next(case: UUID, *, gone: bool) -> None:
    console.print("\n接下来看 Where to look next" + (" (after `make run`):" if gone else ":"), style="dim")
    for command in (f"trace {case}", f"incident {case}", f"watch {case}", "alarms"):
        console.print(f"  jingyi {command}", style="dim")
