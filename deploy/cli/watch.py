"""`jingyi watch CASE`: an incident as it happens, in both languages, until it is closed."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.text import Text

from deploy.cli.asked import JINZHONG, SEAT, Actor, AsJson, CaseId, City, State
from deploy.cli.client import INTAKE, call_path, console, done, fetched, running_system
from deploy.cli.timeline import Said, Story, listening
from deploy.cli.wording import said as worded
from shared.contract.event import Event

Every = Annotated[bool, typer.Option("--all", help="Also what dispatch notes of the others' events.")]

COLOURS = {
    "hotline.calls": "cyan",
    "risk.assessments": "magenta",
    "dispatch.incidents": "yellow",
    "responder.callouts": "green",
}
LOUD = {
    "AlarmRaised": "bold red",
    "AlarmSounded": "red",
    "LegOverdue": "red",
    "CallOutUnreachable": "red",
    "CallOutRejected": "red",
    "CallOutAccepted": "bold green",
    "IncidentClosed": "bold green",
}
ZH_COLUMNS = 58
MARGIN = " " * 21
ECHOES = frozenset({"LegChanged", "CallNoted", "FollowUpNoted"})
"""What dispatch notes of what others have said; shown on demand."""

HEADING = f"{'自接通':>6} {'自保存':>6}  │ from the call's first second · since danger was saved"


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command("watch")(watch)


def watch(
    case: CaseId,
    city: City = JINZHONG,
    every: Every = False,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """The case's timeline from its opening on, live, until the incident is closed. Ctrl-C leaves it."""
    call = fetched(state, actor, INTAKE, call_path(city, case))
    tell = as_record if as_json else partial(show, call["spoken_number"], every=every)
    if not as_json:
        console.print(HEADING, style="dim")
    done(_follow(running_system(state).kafka, Story(case), tell))


async def _follow(kafka: str, story: Story, tell: Callable[[Story, Said], None]) -> None:
    async with listening(kafka, story.case) as speech:
        async for said in speech:
            if await story.add(said):
                tell(story, said)
            if story.closed:
                return


def show(spoken: str, story: Story, said: Said, *, every: bool = False) -> None:
    """Print one event; echoes only where every event is wanted."""
    if every or type(said.event).__name__ not in ECHOES:
        console.print(line(story, said, spoken))


def as_record(story: Story, said: Said) -> None:
    """One event as a line of JSON."""
    typer.echo(json.dumps({"type": type(said.event).__name__, "id": said.id, **said.event.model_dump(mode="json")}))


def line(story: Story, said: Said, spoken: str) -> Text:
    """One event: seconds since the call was taken, since danger was saved, and the words."""
    event = said.event
    colour = LOUD.get(type(event).__name__, COLOURS[event.topic])
    words = worded(event, spoken)
    zh = ("【演练】" if said.drill else "") + words.zh
    room = ZH_COLUMNS - cell_len(zh)
    between = " " * room if room > 0 else "\n" + MARGIN
    return Text.assemble(
        (f"{since(story.rang_at, event):>9} {since(story.saved_at, event):>9}  ", "dim"),
        (zh, colour),
        (between + words.en, "dim"),
    )


def since(start: datetime | None, event: Event) -> str:
    """Seconds from `start` to the event; blank before it."""
    return "" if start is None or event.at < start else f"+{(event.at - start).total_seconds():.3f}"
