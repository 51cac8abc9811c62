"""What main @ 5246a1a wrote (states, events, journal lines) opens today and means the same."""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import reduce
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from services.dispatch import service as dispatch
from services.hotline_intake import service as intake
from services.hotline_intake.seat_act import SeatActRequest
from services.responder_adapter import service as adapter
from services.risk_assessment import service as risk
from shared.contract import callouts, calls, incidents
from shared.contract import risk as risks
from shared.contract.city import Cities, City
from shared.contract.event import Command, DeadlinePassed, Event
from shared.kernel.machine import cloudevent
from shared.kernel.machine.machine import Machine
from shared.kernel.machine.vault import Vault
from shared.kernel.process.file_journal import FileJournal

# All that this file knows of today's product is above and in the functions below.


def machines(cities: Cities) -> tuple[Machine[Any], ...]:
    return intake.machine(cities), dispatch.machine(cities), adapter.machine(cities), risk.machine()


def open_journal(folder: Path, masters: dict[int, bytes]) -> dict[UUID, Any]:
    """What is kept and not struck, oldest first."""
    journal = FileJournal(folder, masters)
    journal.open()
    waiting = journal.open_entries
    assert not journal.unreadable
    journal.close()
    return waiting


def read_act(kept: dict[str, Any]) -> SeatActRequest:
    return SeatActRequest.from_journal(kept)


def act_facts(request: SeatActRequest) -> dict[str, Any]:
    """What an act says of itself before any store is asked."""
    return {
        "what": request.to_journal(),
        "urgent": request.act.urgent,
        "cause": [str(request.key.id), request.key.fingerprint, request.key.drill],
        "address": [request.address.instance, request.address.home],
        "opening": as_json(request.opening),
    }


async def command_of(request: SeatActRequest, *, rang: bool) -> Command:
    return await request.act.command(request, sealed_stub, rang=rang)


async def sealed_stub(field: str, value: object) -> str:
    """The seal with which the fixture's commands were decided: a digest instead of a ciphertext."""
    name, _, _ = field.partition("/")
    return "s1." + sha256(json.dumps([name, value], ensure_ascii=False, sort_keys=True).encode()).hexdigest()


EVENTS_BEFORE = 55
"""Event types that there were; a later one has no bytes from before."""

FOLDER = Path(__file__).parent / "fixtures" / "written_before"
BEFORE: dict[str, Any] = json.loads((FOLDER / "acts.json").read_text())
LIVES: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "lives.jsonl").read_text().splitlines()]
EVENTS: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "events.jsonl").read_text().splitlines()]
MASTERS = {int(version): bytes.fromhex(key) for version, key in BEFORE["masters"].items()}
CITIES = Cities(map(City.model_validate, BEFORE["cities"].values()))
MACHINES = {machine.name: machine for machine in machines(CITIES)}
CLASSES = {
    each.type_name(): each
    for module in (calls, risks, incidents, callouts)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Event)
}


def as_json(model: Any) -> Any:
    return json.loads(model.model_dump_json())


def dumped(machine: Machine[Any], state: Any) -> Any:
    return json.loads(TypeAdapter(type(machine.blank)).dump_json(state))


def event_of(written: dict[str, Any]) -> Event:
    return CLASSES[written["type"]].model_validate_json(json.dumps(written["value"]))


def said(event: Event) -> dict[str, Any]:
    return {"type": event.type_name(), "value": json.loads(event.model_dump_json(exclude_none=True))}


def unchanged(today: Any, before: Any) -> bool:
    """Whether all that stood there stands there, in the same bytes; a field that is new since is no change."""
    text = [json.dumps(each, ensure_ascii=False) for each in (without_new(today, before), before)]
    return text[0] == text[1]


def without_new(today: Any, before: Any) -> Any:
    match today, before:
        case dict(), dict():
            return {name: without_new(value, before[name]) for name, value in today.items() if name in before}
        case list(), list() if len(today) == len(before):
            return [without_new(*pair) for pair in zip(today, before, strict=True)]
    return today


def steps(life: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each step of a life, with the state it began from as it was written."""
    machine = MACHINES[life["machine"]]
    adapter = TypeAdapter(type(machine.blank))
    state = machine.blank
    for step in life["steps"]:
        yield state, step
        if "state" in step:
            state = adapter.validate_json(json.dumps(step["state"]))


every_life = pytest.mark.parametrize("life", LIVES, ids=[f"{life['machine']}-{n}" for n, life in enumerate(LIVES)])


@every_life
def test_a_state_is_written_again_as_it_was_and_waits_for_the_same_moment(life: dict[str, Any]) -> None:
    machine = MACHINES[life["machine"]]
    for _, step in steps(life):
        if "state" not in step:
            continue
        state = TypeAdapter(type(machine.blank)).validate_json(json.dumps(step["state"]))
        due = machine.deadline(state)
        assert unchanged(dumped(machine, state), step["state"])
        assert (due and due.isoformat(), machine.listed(state)) == (step["due"], step["listed"])


@every_life
def test_the_events_of_a_life_fold_into_the_same_states_from_its_beginning(life: dict[str, Any]) -> None:
    machine = MACHINES[life["machine"]]
    state = machine.blank
    for step in life["steps"]:
        state = reduce(machine.evolve, map(event_of, step["said"]), state)
        if "state" in step:
            assert unchanged(dumped(machine, state), step["state"])


@every_life
def test_news_and_silence_lead_from_an_old_state_to_the_same_words(life: dict[str, Any]) -> None:
    machine = MACHINES[life["machine"]]
    for state, step in steps(life):
        if "heard" in step:
            message: Event | DeadlinePassed = event_of(step["heard"])
            if "address" in step:
                address = machine.address(message)
                assert [address.instance, address.home] == step["address"]
        elif "passed" in step:
            message = DeadlinePassed.model_validate_json(json.dumps(step["passed"]))
        else:
            continue
        decided = machine.decide(state, message, datetime.fromisoformat(step["now"]))
        assert unchanged([said(event) for event in decided], step["said"])


def test_every_event_that_can_be_said_was_written() -> None:
    written = {event["headers"]["ce_type"] for event in EVENTS}
    leaves = {name for name, kind in CLASSES.items() if not kind.__subclasses__()}
    assert written <= leaves
    assert len(written) == EVENTS_BEFORE


@pytest.mark.parametrize("row", EVENTS, ids=[event["headers"]["ce_type"] for event in EVENTS])
def test_an_event_is_read_by_its_type_and_said_again_in_the_same_bytes(row: dict[str, Any]) -> None:
    old = row["headers"]
    event = event_of({"type": old["ce_type"], "value": row["value"]})
    assert old["ce_source"] == cloudevent.source_of(event.service)
    assert unchanged(said(event)["value"], row["value"])
    assert (event.topic, str(event.case), event.urgent) == (row["topic"], row["key"], row["urgent"])
    new = cloudevent.cloudevent_headers(event, UUID(old["ce_id"]), old["ce_source"], old["ce_sequence"])
    assert {**old, **new, "traceparent": old["traceparent"]} == old


def test_a_journal_opens_with_all_that_was_not_struck_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes((FOLDER / "journal").read_bytes())
    waiting = open_journal(tmp_path, MASTERS)
    kept = [act["what"] for act in BEFORE["acts"] if not act["struck"]]
    assert [(str(entry), what) for entry, what in waiting.items()] == [(what["id"], what) for what in kept]


@pytest.mark.parametrize("before", BEFORE["acts"], ids=[act["what"]["what"] for act in BEFORE["acts"]])
async def test_an_act_out_of_the_journal_means_the_same_command(before: dict[str, Any]) -> None:
    act = read_act(before["what"])
    assert unchanged(act_facts(act), {name: before[name] for name in act_facts(act)})
    for rang, name in ((True, "rang"), (False, "silent")):
        command = await command_of(act, rang=rang)
        today = {"command": type(command).__name__, "fields": as_json(command)}
        assert unchanged(today, before[name])


class OneKey:
    """A store that has the wrapped key of the fixture's case, and nothing else."""

    async def ask(self, *_: object) -> bytes:
        return str(BEFORE["case_key"]).encode()


@pytest.mark.parametrize("field", BEFORE["sealed"])
async def test_a_sealed_field_opens(field: str) -> None:
    vault = Vault(MASTERS, OneKey())  # type: ignore[arg-type]
    case = UUID(BEFORE["acts"][0]["what"]["case"])
    for named in (field, f"{field}/{UUID(int=7)}"):
        assert await vault.unseal(case, named, BEFORE["sealed"][field], city="140700") == BEFORE["plain"][field]
