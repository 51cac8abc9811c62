"""死信重放: a dead letter told again to the service that could not understand it, once its reason is mended."""

import json
from typing import Annotated, Any

import httpx
import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from deploy.cli.asked import State
from deploy.cli.client import Whereabouts, console, done, running_system
from deploy.cli.dead_letters import LEARNT, OUTCOME, PREFIX, REPLAYED, DeadLetter, letters
from deploy.local.trouble import Trouble
from shared.kernel.log.consumer import FOLLOWS
from shared.kernel.log.fallback.client import EVENTS
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import header_texts
from shared.kernel.machine.cloudevent import BATCH, structured_event
from shared.kernel.machine.store import OutboxRow

WITHIN = 15.0
"""Seconds for one letter."""

NOT_NOW = "not now: the service neither learnt nor refused it; see its log and try again"


def register(app: typer.Typer) -> None:
    """Make this command part of `jingyi dead-letters`."""
    app.command()(replay)


def replay(
    where: Annotated[str | None, typer.Argument(help="topic/partition/offset, as `list` names it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Each that was not learnt since.")] = False,
    state: State = None,
) -> None:
    """Tell a dead letter again, under its own id, to the service that could not understand it, and to nobody else.

    What a service has learnt once it does not learn again. Exit code 1 if anything was not learnt.
    """
    if (where is None) is not every:
        console.print("Name one dead letter, as `jingyi dead-letters list` shows it, or give --all.", style="red")
        raise typer.Exit(2)
    told = done(replayed(running_system(state), where))
    for letter, outcome in told.items():
        console.print(f"[bold]{letter}[/]  {outcome}", style="green" if outcome == LEARNT else "red")
    if not told:
        console.print("没有待重放的死信 Nothing to replay.", style="green")
    if set(told.values()) - {LEARNT}:
        raise typer.Exit(1)


async def replayed(system: Whereabouts, where: str | None = None) -> dict[str, str]:
    """What came of each letter that is still open, or of the one named. Trouble where there is none of that name."""
    found = [one for one in await letters(system.kafka) if (one.open if where is None else one.where == where)]
    if where is not None and not found:
        raise Trouble(f"There is no dead letter {where}; `jingyi dead-letters list` names them.")
    bus, outcomes = KafkaBus(system.kafka), dict[str, str]()
    async with httpx.AsyncClient(timeout=WITHIN, trust_env=False) as http, bus.producer() as notes:
        for one in found:
            outcomes[one.where] = LEARNT if not one.open else await _told(system, bus, http, one)
            if one.open and outcomes[one.where] != NOT_NOW:
                marks = {REPLAYED: one.where, OUTCOME: outcomes[one.where]}
                named = [(name, text.encode()) for name, text in marks.items()]
                await notes.send_and_wait(one.where.split("/")[0], b"", headers=named)
    return outcomes


async def _told(system: Whereabouts, bus: KafkaBus, http: httpx.AsyncClient, letter: DeadLetter) -> str:
    service = letter.service.removesuffix(FOLLOWS)
    named, value = (letter.headers, letter.value) if "ce_type" in letter.headers else await _origin(bus, letter)
    own = {name: text for name, text in named.items() if not name.startswith(PREFIX)}
    row = OutboxRow(letter.origin.split("/")[0], letter.case, {"ce_partitionkey": letter.case, **own}, value.encode())
    event = structured_event(row, own.get("traceparent", ""))
    try:
        named = json.loads(event)["id"]
    except (ValueError, KeyError):
        return "it is no JSON, or has no id: no door can take it"
    if service not in system.urls:
        return f"no door of {service} is known here"
    outcome = await _asked(http, f"{system.urls[service]}{EVENTS}", system.peer_token, event)
    if isinstance(outcome, str) or named in outcome["learnt"]:
        return outcome if isinstance(outcome, str) else LEARNT
    refused = outcome["refused"].get(named)
    return f"refused: {refused}" if refused else NOT_NOW


async def _asked(http: httpx.AsyncClient, url: str, token: str, event: bytes) -> dict[str, Any] | str:
    try:
        shown = {"authorization": f"Bearer {token}", "content-type": BATCH}
        answered = await http.post(url, content=b"[" + event + b"]", headers=shown)
    except httpx.TransportError as silence:
        return f"{url} does not answer ({type(silence).__name__})"
    if not answered.is_success:
        return f"the door refused the request: HTTP {answered.status_code}"
    outcome: dict[str, Any] = answered.json()
    return outcome


async def _origin(bus: KafkaBus, letter: DeadLetter) -> tuple[dict[str, str], str]:
    """The record itself, where its dead letter could only say where it lies."""
    topic, number, offset = letter.origin.rsplit("/", 2)
    place = TopicPartition(topic, int(number))
    try:
        async with bus.reader() as reader:
            reader.assign([place])
            reader.seek(place, int(offset))
            record = await reader.getone()
    except KafkaError as silence:
        raise Trouble(f"{letter.origin} cannot be read: {type(silence).__name__}.") from None
    key, value = ((part or b"").decode(errors="replace") for part in (record.key, record.value))
    return {"ce_partitionkey": key, **header_texts(record)}, value
