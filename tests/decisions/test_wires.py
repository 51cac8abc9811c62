"""Every kind of wire has its module behind one port, and what a wire can is settled by a call-out's first event."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import TypeAdapter

from services.responder_adapter import callout as callout_module
from services.responder_adapter import recovery, report, sender, state, status
from services.responder_adapter.callout import call_task, deadline
from services.responder_adapter.outgoing import Cancel, Order, Status
from services.responder_adapter.state import CallOut, evolve
from services.responder_adapter.wires import Answer, Silence, WireContext, connect_wire
from shared.contract.callouts import CallOutEvent, CallOutTaken, past_abilities
from shared.contract.city import BY_PERSON, Cities, City, DeskEntry, EchoWire, WebhookWire, WireAbilities, WireEntry
from shared.contract.event import Message
from shared.contract.terms import Rung
from tests.decisions.test_callout import CASE, CITIES, LINE, PHONED, TEN, WIRE, WIRED, History

ENTRIES: tuple[WireEntry, ...] = (BY_PERSON, WIRE, EchoWire(kind="echo"))
CONTEXT = WireContext({}, ssl.create_default_context(), httpx.AsyncHTTPTransport)
ABOUT: dict[str, Any] = {
    "key": f"{CASE}/140700-000/1",
    "case": str(CASE),
    "desk": "140700-000",
    "n": 1,
    "attempt": 1,
    "spoken_number": "0354-1",
    "reports_to": "",
}
ORDER: dict[str, Any] = {"tier": None, "reasons": (), "accept_by": None, "place": {}, "brief": {}}


def wire_models() -> tuple[type[WireEntry], ...]:
    """The union of the city pack."""
    return get_args(DeskEntry.model_fields["wire"].annotation)


def without_abilities(history: History) -> list[CallOutEvent]:
    """Its events as they were written before there were abilities."""
    events = [event.model_dump(mode="json", exclude={"abilities"}) for event in history.events]
    return [type(was).model_validate(now) for was, now in zip(history.events, events, strict=True)]  # type: ignore[misc]


def webhook(**abilities: bool) -> History:
    """A call-out whose desk's webhook is said to be like that."""
    pack: City = CITIES[LINE]
    wired = pack.desks[WIRED].model_copy(update={"wire": WIRE.model_copy(update=abilities)})
    return History(cities=Cities([pack.model_copy(update={"desks": {**pack.desks, WIRED: wired}})]))


@pytest.mark.parametrize("model", wire_models())
def test_every_kind_of_wire_in_a_city_pack_has_a_module_with_the_one_entry(model: type[WireEntry]) -> None:
    for kind in get_args(model.model_fields["kind"].annotation):
        assert callable(import_module(f"services.responder_adapter.wires.{kind}").connect)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
@pytest.mark.parametrize(
    "outgoing",
    [
        Order(**ABOUT, **ORDER, drill=True),
        Cancel(**ABOUT, reason="stood_down", drill=True),
        Status(**ABOUT, question="1", drill=True),
    ],
)
async def test_every_wire_answers_every_message_with_an_answer_or_a_silence(
    entry: WireEntry, outgoing: Order | Cancel | Status
) -> None:
    async with connect_wire(WIRED, entry, CONTEXT) as wire:
        assert isinstance(await wire.send(outgoing, TEN), Answer | Silence)


async def test_the_echo_desk_accepts_and_clears_a_drill_in_one_breath_and_takes_nobody_in_danger() -> None:
    async with connect_wire(WIRED, EchoWire(kind="echo"), CONTEXT) as wire:
        drill = await wire.send(Order(**ABOUT, **ORDER, drill=True), TEN)
        assert drill == Answer(Rung.ACCEPTED, "echo", "echo-1", then=Answer(Rung.CLEARED, code="drill"))
        danger = await wire.send(Order(**ABOUT, **ORDER, drill=False), TEN)
        assert danger == Answer(Rung.REJECTED, code="not_a_drill")


@pytest.mark.parametrize("module", [callout_module, state, report, status, recovery, sender])
def test_neither_the_machine_nor_the_sender_names_a_wire(module: Any) -> None:
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert not [
        word for word in ("Webhook", "PhoneWire", "EchoWire", '"phone"', '"webhook"', '"echo"') if word in source
    ]


def test_what_the_wire_can_is_written_into_the_first_event() -> None:
    history = webhook(says_status=True, reports=False)
    history.learns(history.order())
    [taken] = history.events
    assert isinstance(taken, CallOutTaken)
    assert taken.abilities == WireAbilities(sends=True, cancels=True, says_status=True)
    assert history.state.can == taken.abilities


@pytest.mark.parametrize("says_status", [True, False])
def test_a_pack_that_changes_afterwards_changes_nothing_for_a_call_out_under_way(says_status: bool) -> None:
    before, after = webhook(says_status=says_status), webhook(says_status=not says_status, cancels=False)
    for history in (before, after):
        history.state, history.events = History().state, []
    before.learns(before.order())
    after.state = before.state
    for history in (before, after):
        history.later(60)
    assert before.learns(before.recover()) == after.learns(after.recover())
    assert before.learns(before.cancel()) == after.learns(after.cancel())
    assert before.state == after.state


def test_a_wish_to_cancel_is_phoned_where_the_wire_cannot_say_it() -> None:
    history = webhook(cancels=False)
    history.learns(history.order(), history.answered(), history.cancel())
    assert call_task(history.state)
    assert not history.state.sends(history.state.token)


def test_a_wire_that_cannot_cancel_goes_on_after_a_phone_call_that_led_nowhere() -> None:
    history = webhook(cancels=False)
    history.learns(history.claimed(), history.order(), history.released())
    assert deadline(history.cities, history.state) == history.now


LIVES: dict[str, Callable[[History], tuple[Message, ...]]] = {
    "delivered": lambda of: (of.answered(), of.cancel()),
    "in doubt": lambda of: (of.failed("timeout"), of.cancel()),
    "held": lambda of: (of.claimed(), of.released()),
    "lost": lambda of: (of.recover(),),
    "cancelled": lambda of: (of.cancel(),),
}


@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("desk", [WIRED, PHONED])
@pytest.mark.parametrize("says_status", [True, False])
def test_what_was_written_before_there_were_abilities_opens_and_means_the_same(
    life: str, desk: str, says_status: bool
) -> None:
    new, old = webhook(says_status=says_status), webhook(says_status=says_status)
    new.desk = old.desk = desk
    new.learns(new.order())
    old.state = reduce(evolve, without_abilities(new), CallOut())
    assert old.state == replace(new.state, abilities=None)
    adapter = TypeAdapter(CallOut)
    written = adapter.dump_python(old.state, mode="json", exclude={"abilities"})
    old.state = adapter.validate_python(written)
    for message in LIVES[life](new):
        assert new.learns(message) == old.learns(message)
        assert deadline(new.cities, new.state) == deadline(old.cities, old.state)
        assert call_task(new.state) == call_task(old.state)
    assert old.state == replace(new.state, abilities=None)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.kind)
def test_the_name_of_a_wire_alone_tells_what_it_could_but_for_saying_its_status(entry: WireEntry) -> None:
    assert past_abilities(entry.kind) == entry.abilities.model_copy(update={"says_status": False})
    assert past_abilities(None) == WireAbilities()


def test_a_webhook_may_neither_cancel_nor_report() -> None:
    told = {"kind": "webhook", "url": "http://127.0.0.1:9/", "secret_env": "SECRET", "cancels": False, "reports": False}
    wire = WebhookWire.model_validate(told)
    assert (wire.abilities, wire.report_secret_env) == (WireAbilities(sends=True), None)
