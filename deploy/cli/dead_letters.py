"""死信 by hand: records that no service could understand, with the reason: `jingyi dead-letters list|show|replay`."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from deploy.cli.asked import AsJson, State
from deploy.cli.client import Whereabouts, console, done, headed, printed, running_system
from deploy.cli.timeline import TOPICS
from deploy.local.trouble import Trouble
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import header_texts, open_reader, read_records

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Records that no service could understand.")

PREFIX = "dead_letter_"

REPLAYED, OUTCOME, LEARNT = f"{PREFIX}replayed", f"{PREFIX}outcome", "learnt"
"""A note beside the dead letters names one that was told again, and what came of it."""


WITHIN = 15.0
"""Seconds for one letter."""

NOT_NOW = "not now: the service neither learnt nor refused it; see its log and try again"


@dataclass(frozen=True)
class DeadLetter:
    """One record as it was put aside. `where` names it: topic/partition/offset. The value's fields stay sealed."""

    where: str
    at: datetime
    reason: str
    service: str
    origin: str
    event: str
    event_id: str
    case: str
    trace: str
    headers: dict[str, str]
    value: str
    replayed: str = ""

    @property
    def open(self) -> bool:
        """Whether the service that could not understand it has not learnt it since."""
        return self.replayed != LEARNT


def register(root: typer.Typer) -> None:
    """Make these commands part of `jingyi`."""
    root.add_typer(app, name="dead-letters")


@app.command("list")
def listed(as_json: AsJson = False, state: State = None) -> None:
    """Every dead letter, oldest first."""
    found = done(letters(running_system(state).kafka))
    if as_json:
        return printed(
            [{k: str(v) for k, v in asdict(letter).items() if k not in {"headers", "value"}} for letter in found]
        )
    if not found:
        console.print("没有死信 There are no dead letters.", style="green")
        return None
    for one in found:
        headed(one.where, f"{one.at:%Y-%m-%d %H:%M:%S} UTC")
        console.print(f"  {one.reason}", style="red")
        origin = f"{one.event} {one.event_id} 来自 from {one.origin}，未能读懂者 not understood by {one.service}"
        console.print(f"  {origin}\n  trace {one.trace}", style="dim")
        if one.replayed:
            console.print(f"  已重放 replayed: {one.replayed}", style="red" if one.open else "green")
    return None


@app.command()
def show(
    where: Annotated[str, typer.Argument(help="topic/partition/offset, as `list` names it.")],
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """One dead letter with its headers and its value; personal fields in it stay sealed."""
    found = [letter for letter in done(letters(running_system(state).kafka)) if letter.where == where]
    if not found:
        console.print(f"There is no dead letter {where}; `jingyi dead-letters list` names them.", style="red")
        raise typer.Exit(1)
    if as_json:
        return printed({**asdict(found[0]), "at": found[0].at.isoformat()})
    for name, value in found[0].headers.items():
        headed(name, value)
    console.print(found[0].value)
    return None


async def letters(kafka: str) -> list[DeadLetter]:
    """What lies in the dead-letter topics now. Trouble if Kafka does not answer."""
    try:
        async with open_reader(KafkaBus(kafka), *(f"{topic}.dlq" for topic in TOPICS)) as (reader, ends):
            found = [letter(record) async for record in read_records(reader, ends)]
    except KafkaError as silence:
        raise Trouble(f"Kafka at {kafka} does not answer ({type(silence).__name__}); see `jingyi status`.") from None
    notes = [one.headers for one in sorted(found, key=lambda one: one.at) if REPLAYED in one.headers]
    replayed = {note[REPLAYED]: note.get(OUTCOME, "?") for note in notes}
    letters = [replace(one, replayed=replayed.get(one.where, "")) for one in found if REPLAYED not in one.headers]
    return sorted(letters, key=lambda one: one.at)


def letter(record: Any) -> DeadLetter:
    """A record of a dead-letter topic, read as far as it can be."""
    named = header_texts(record)
    return DeadLetter(
        where=f"{record.topic}/{record.partition}/{record.offset}",
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        reason=named.get(f"{PREFIX}reason", "?"),
        service=named.get(f"{PREFIX}service", "?"),
        origin=named.get(f"{PREFIX}origin", "?"),
        event=named.get("ce_type", "?").rpartition(".")[2],
        event_id=named.get("ce_id", "?"),
        case=(record.key or b"").decode(errors="replace"),
        trace=named.get("traceparent", "").partition("-")[2][:32],
        headers=named,
        value=(record.value or b"").decode(errors="replace"),
    )


@app.command()
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
        console.print(f"{letter}  {outcome}", style="green" if outcome == LEARNT else "red")
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
    from shared.kernel.log.consumer import FOLLOWS  # late: looking at letters needs none of it
    from shared.kernel.log.fallback.client import EVENTS
    from shared.kernel.machine.cloudevent import source_of, structured_event
    from shared.kernel.machine.store import OutboxRow

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
    token = system.peer_tokens.get(own.get("ce_source", "").removeprefix(source_of("")))
    if token is None:
        return "no token of the service that said it is known here; set JINGYI_PEER_TOKENS"
    outcome = await _asked(http, f"{system.urls[service]}{EVENTS}", token, event)
    if isinstance(outcome, str) or named in outcome["learnt"]:
        return outcome if isinstance(outcome, str) else LEARNT
    refused = outcome["refused"].get(named)
    return f"refused: {refused}" if refused else NOT_NOW


async def _asked(http: httpx.AsyncClient, url: str, token: str, event: bytes) -> dict[str, Any] | str:
    from shared.kernel.machine.cloudevent import BATCH

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
