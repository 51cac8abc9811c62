"""The account of an escalation: whatever was said in whatever order, it has exactly one fate, and silence is found."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.account import Account, MissingRung, evolve, fate_of, owed_rungs
from services.auditor.callout import HUMAN
from shared.contract.audit import Fate, Turn
from shared.contract.callouts import (
    CallOutAccepted,
    CallOutCancelled,
    CallOutCleared,
    CallOutDelivered,
    CallOutHeld,
    CallOutRejected,
    CallOutReleased,
    CallOutTaken,
)
from shared.contract.calls import (
    AlarmClaimed,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    EscalationRequested,
    ScreeningRecorded,
)
from shared.contract.event import Event
from shared.contract.incidents import (
    CallOutCancelRequested,
    CallOutOrdered,
    IncidentClosed,
    IncidentOpened,
    Purpose,
)
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Situation, Tier

CASE, SCREENING = UUID("0197a000-0000-7000-8000-000000000001"), UUID("0197a000-0000-7000-8000-00000000000a")
CITY, POLICE, AMBULANCE = "140700", "140700-110", "140700-120"
BEGAN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
SEALED = "s1." + "A" * 40

Said = tuple[Event, UUID | None]
"""An event, and the id of what it answers."""


def at(seconds: float, **more: Any) -> dict[str, Any]:
    return {"case": CASE, "city": CITY, "at": BEGAN + timedelta(seconds=seconds), **more}


def desk(seconds: float, name: str = POLICE, **more: Any) -> dict[str, Any]:
    return at(seconds, desk=name, n=1, **more)


def name_of(event: Event) -> UUID:
    return uuid5(CASE, event.model_dump_json())


def account(*said: Said) -> Account:
    return reduce(lambda known, one: evolve(known, one[0], str(name_of(one[0])), one[1]), said, Account(CASE, CITY))


F9 = EscalationRequested(**at(0), by="seat-1", situation=Situation())
DANGER = ScreeningRecorded(**at(0), screening=SCREENING, answers=SEALED, danger=True, situation=Situation())
HIGH = RiskAssessed(
    **at(0.1), screening=SCREENING, tier=Tier.HIGH, reasons=("acute",), dispatch_now=True, situation=Situation()
)
LOW = HIGH.model_copy(update={"tier": Tier.LOW, "dispatch_now": False})
OPENED = IncidentOpened(**at(0.2), reasons=("acute",), situation=Situation(), desks=(POLICE,))
ORDERED = CallOutOrdered(**desk(0.2), reasons=("acute",), situation=Situation(), accept_by=BEGAN)
WARNED = ORDERED.model_copy(update={"desk": AMBULANCE, "n": 0, "purpose": Purpose.WARN})
TAKEN = CallOutTaken(**desk(0.3), wire="webhook", purpose=Purpose.ACT, reasons=(), situation=Situation(), token=1)
PHONED = TAKEN.model_copy(update={"wire": "phone", "token": 0})
DELIVERED, ACCEPTED = CallOutDelivered(**desk(0.4)), CallOutAccepted(**desk(1), event_no="E-1")
CLEARED, REJECTED = CallOutCleared(**desk(2), code="assisted"), CallOutRejected(**desk(2), code="no_unit")
STOPPED, CANCELLED = CallOutCancelRequested(**desk(1), reason="found", by="sup"), CallOutCancelled(**desk(2))
RANG = AlarmRaised(**at(9), desks=(POLICE,), because="unaccepted")
CLAIMED, SETTLED = (
    AlarmClaimed(**desk(9.1), by="sup"),
    AlarmSettled(**desk(9.2), by="sup", officer="041207", event_no="E-2"),
)
GIVEN_BACK, CLOSED = AlarmReleased(**desk(9.3), because="given_back"), IncidentClosed(**at(9), outcome="safe", by="sup")

BY_HAND: tuple[Said, ...] = ((F9, None), (OPENED, name_of(F9)), (ORDERED, name_of(F9)))


@pytest.mark.parametrize(
    ("said", "soon", "late"),
    [
        (((DANGER, None),), Fate.UNDER_WAY, Fate.UNACCOUNTED),
        (((DANGER, None), (LOW, None)), Fate.NOT_NEEDED, Fate.NOT_NEEDED),
        (((DANGER, None), (HIGH, None)), Fate.UNDER_WAY, Fate.UNACCOUNTED),
        (((DANGER, None), (RANG, None)), Fate.WITH_PEOPLE, Fate.WITH_PEOPLE),
        (((F9, None),), Fate.UNDER_WAY, Fate.UNACCOUNTED),
        (((F9, None), (OPENED, name_of(F9))), Fate.UNDER_WAY, Fate.UNACCOUNTED),
        (BY_HAND, Fate.UNDER_WAY, Fate.UNACCOUNTED),
        ((*BY_HAND, (TAKEN, None)), Fate.UNDER_WAY, Fate.UNACCOUNTED),
        ((*BY_HAND, (PHONED, None)), Fate.WITH_PEOPLE, Fate.WITH_PEOPLE),
        ((*BY_HAND, (TAKEN, None), (DELIVERED, None)), Fate.WITH_PEOPLE, Fate.WITH_PEOPLE),
        ((*BY_HAND, (TAKEN, None), (RANG, None)), Fate.WITH_PEOPLE, Fate.WITH_PEOPLE),
        ((*BY_HAND, (CallOutHeld(**desk(1), by="sup"), None)), Fate.WITH_PEOPLE, Fate.WITH_PEOPLE),
        ((*BY_HAND, (RANG, None), (CLAIMED, None), (SETTLED, None)), Fate.ACCEPTED, Fate.ACCEPTED),
        ((*BY_HAND, (ACCEPTED, None)), Fate.ACCEPTED, Fate.ACCEPTED),
        ((*BY_HAND, (WARNED, None), (ACCEPTED, None)), Fate.ACCEPTED, Fate.ACCEPTED),
        ((*BY_HAND, (REJECTED, None)), Fate.WITH_PEOPLE, Fate.WITH_PEOPLE),
        ((*BY_HAND, (STOPPED, None)), Fate.STOOD_DOWN, Fate.STOOD_DOWN),
        ((*BY_HAND, (ACCEPTED, None), (CLEARED, None), (CLOSED, None)), Fate.CLOSED, Fate.CLOSED),
    ],
)
def test_an_escalation_has_the_fate_that_what_was_said_gives_it(said: tuple[Said, ...], soon: Fate, late: Fate) -> None:
    assert fate_of(account(*said), BEGAN + timedelta(seconds=9.9)) is soon
    assert fate_of(account(*said), BEGAN + timedelta(seconds=11)) is late


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        (((DANGER, None),), MissingRung.UNASSESSED),
        (((DANGER, None), (HIGH, None)), MissingRung.UNORDERED),
        (((F9, None), (OPENED, name_of(F9))), MissingRung.UNORDERED),
        (BY_HAND, MissingRung.UNTAKEN),
        ((*BY_HAND, (TAKEN, None)), MissingRung.UNDELIVERED),
    ],
)
def test_what_the_machine_owes_is_named(said: tuple[Said, ...], missing: MissingRung) -> None:
    [gap] = owed_rungs(account(*said))
    assert gap.missing is missing


def test_a_second_cry_is_not_answered_by_what_answered_the_first() -> None:
    again = F9.model_copy(update={"at": BEGAN + timedelta(seconds=60)})
    settled = account(*BY_HAND, (RANG, None), (SETTLED, None))
    assert not settled.unanswered
    cried = evolve(settled, again, str(name_of(again)), None)
    assert [gap.missing for gap in owed_rungs(cried)] == [MissingRung.UNORDERED]


def test_a_claim_given_back_rings_again() -> None:
    given_back = account(*BY_HAND, (RANG, None), (CLAIMED, None), (GIVEN_BACK, None))
    assert given_back.turns == {POLICE: Turn.RINGING}


EVERY: tuple[Said, ...] = (
    *BY_HAND,
    (DANGER, None),
    (HIGH, None),
    (WARNED, None),
    (TAKEN, None),
    (DELIVERED, None),
    (CallOutHeld(**desk(1), by="sup"), None),
    (CallOutReleased(**desk(1.5), because="given_back"), None),
    (ACCEPTED, None),
    (REJECTED, None),
    (STOPPED, None),
    (CANCELLED, None),
    (CLEARED, None),
    (RANG, None),
    (CLAIMED, None),
    (GIVEN_BACK, None),
    (SETTLED, None),
    (CLOSED, None),
)


def by_topic(said: Sequence[Said]) -> list[list[Said]]:
    topics = sorted({event.topic for event, _ in said})
    return [[one for one in said if one[0].topic == topic] for topic in topics]


@given(st.lists(st.sampled_from(EVERY), max_size=12), st.floats(min_value=0, max_value=60))
def test_whatever_happens_silence_of_the_machine_without_a_human_rung_is_found(
    said: list[Said], seconds: float
) -> None:
    now, known = BEGAN + timedelta(seconds=seconds), account(*said)
    owed = [gap for gap in owed_rungs(known) if gap.since + timedelta(seconds=10) <= now]
    assert (fate_of(known, now) is Fate.UNACCOUNTED) == bool(owed)
    for name, turn in known.turns.items():
        ordered = max(one.ordered_at or now for one in known.latest if one.desk == name)
        if turn is Turn.REQUESTED and ordered + timedelta(seconds=10) <= now:
            assert any(gap.desk == name for gap in owed)
        if turn in HUMAN:
            assert not any(gap.desk == name for gap in owed)


@given(st.lists(st.sampled_from(EVERY), max_size=12, unique_by=lambda one: one[0].model_dump_json()), st.randoms())
def test_the_order_in_which_topics_come_changes_nothing(said: list[Said], chance: Any) -> None:
    straight, topics = account(*said), by_topic(said)
    mixed = []
    while topics := [rest for rest in topics if rest]:
        mixed.append(chance.choice(topics).pop(0))
    assert account(*mixed) == straight
    assert account(*said, *said) == straight
