"""死信 by hand: records that no service could understand, with the reason: `jingyi dead-letters list|show|replay`."""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError

from deploy.cli.asked import AsJson, State
from deploy.cli.client import console, done, printed, running_system
from deploy.cli.timeline import TOPICS
from deploy.local.trouble import Trouble
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.record import header_texts, open_reader, read_records

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Records that no service could understand.")

PREFIX = "dead_letter_"

REPLAYED, OUTCOME, LEARNT = f"{PREFIX}replayed", f"{PREFIX}outcome", "learnt"
"""A note beside the dead letters names one that was told again, and what came of it."""


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
    from deploy.cli import replay  # here: it tells again what is read here

    replay.register(app)
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
        console.print(f"[bold]{one.where}[/]  {one.at:%Y-%m-%d %H:%M:%S} UTC  [red]{one.reason}[/]")
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
        console.print(f"[bold]{name}[/]  ", end="")
        console.print(value, markup=False)
    console.print(found[0].value, markup=False)
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
