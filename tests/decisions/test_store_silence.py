"""What the ledger makes of a cry for help that the store could not take: it rang from memory, and people answered."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import pytest

from services.hotline_intake import call as calls
from services.hotline_intake.alarm.decide import ClaimAlarm, ReleaseAlarm, RingNow, SettleAlarm
from services.hotline_intake.call import Call, Escalate, OpenCall, RecordScreening
from shared.contract.calls import AlarmClaimed, AlarmRaised, AlarmSettled, EscalationRequested
from shared.contract.city import Cities
from shared.contract.event import DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import IncidentOpened
from shared.contract.ledger import Phase
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Situation, Tier
from tests.support.a_city import a_city

CASE = UUID("0197a000-0000-7000-8000-000000000001")
CITY = "140700"
POLICE, AMBULANCE = "140700-110", "140700-120"
NIGHT = datetime(2026, 3, 1, 14, tzinfo=UTC)
CITIES = Cities([a_city(desks={})])
HEADING = {"case": CASE, "city": CITY}
SAID = {**HEADING, "at": NIGHT}

CLAIMED = ClaimAlarm(**HEADING, desk=POLICE, by="1002", rang=True)
SETTLED = SettleAlarm(**HEADING, desk=POLICE, by="1002", officer="W-1", event_no="77", rang=True)
GIVEN_BACK = ReleaseAlarm(**HEADING, desk=POLICE, by="1002")
SAVED = RecordScreening(**HEADING, screening=UUID(int=1), answers="s1." + "a" * 40, danger=True, by="1001")
OPENED = IncidentOpened(**SAID, tier=None, reasons=("r",), situation=Situation(), desks=(POLICE, AMBULANCE))


def late(*answers: ClaimAlarm | SettleAlarm | ReleaseAlarm) -> Escalate:
    return Escalate(**HEADING, by="1001", answered=answers)


def learnt(*messages: Message) -> tuple[Call, list[Event]]:
    """A call after these, and what was said of the last one."""
    call: Call = Call()
    events: tuple[Event, ...] = ()
    for message in messages:
        events = calls.decide(CITIES, call, message, NIGHT)
        call = reduce(calls.evolve, events, call)
    return call, list(events)


def phases(call: Call) -> dict[str, Phase]:
    return {name: desk.phase for name, desk in call.alarm.desks.items()}


def test_f9_that_rang_from_memory_goes_on_ringing_in_the_ledger() -> None:
    call, events = learnt(late())
    assert [type(event).__name__ for event in events] == ["CallReceived", "EscalationRequested", "AlarmRaised"]
    assert phases(call) == {POLICE: Phase.RINGING}


def test_whoever_phoned_meanwhile_is_named_in_the_same_commit_as_the_cry_itself() -> None:
    call, events = learnt(late(CLAIMED))
    assert {EscalationRequested, AlarmClaimed} <= {type(event) for event in events}
    assert phases(call) == {POLICE: Phase.CLAIMED}


def test_a_desk_that_has_it_already_does_not_ring_again_when_dispatch_stays_silent() -> None:
    call, events = learnt(late(CLAIMED, SETTLED))
    assert isinstance(events[-1], AlarmSettled)
    assert calls.deadline(CITIES, call) is None


def test_a_claim_given_back_rings_and_one_that_was_refused_then_refuses_nothing_else() -> None:
    another = CLAIMED.model_copy(update={"by": "1003"})
    call, _ = learnt(late(CLAIMED, another, GIVEN_BACK))
    assert phases(call) == {POLICE: Phase.RINGING}


def test_answers_saved_in_the_silence_are_cleared_by_an_assessment_that_asks_for_nobody() -> None:
    verdict = RiskAssessed(
        **SAID, screening=UUID(int=1), tier=Tier.LOW, reasons=("r",), dispatch_now=False, situation=Situation()
    )
    opening = OpenCall(**HEADING, counsellor="1001")
    call, _ = learnt(opening, SAVED.model_copy(update={"answered": ()}), verdict)
    assert phases(call) == {}
    claimed, _ = learnt(opening, SAVED.model_copy(update={"answered": (CLAIMED,)}), verdict)
    assert phases(claimed) == {POLICE: Phase.CLAIMED}


def test_a_desk_awaited_before_the_silence_is_claimed_because_it_rang_from_memory() -> None:
    call, events = learnt(Escalate(**HEADING, by="1001"), OPENED, CLAIMED)
    [raised, claimed] = events
    assert isinstance(raised, AlarmRaised)
    assert (raised.desks, raised.because) == ((POLICE, AMBULANCE), "store_silent")
    assert isinstance(claimed, AlarmClaimed)
    assert phases(call) == {POLICE: Phase.CLAIMED, AMBULANCE: Phase.RINGING}


def test_what_did_not_ring_from_memory_is_refused_as_ever() -> None:
    with pytest.raises(Rejected, match="alarm_not_ringing"):
        learnt(Escalate(**HEADING, by="1001"), OPENED, CLAIMED.model_copy(update={"rang": False}))


def test_the_same_ringing_twice_says_nothing_new() -> None:
    _, events = learnt(late(), RingNow(**HEADING))
    assert events == []


def test_nothing_rings_for_a_call_that_nobody_waits_for() -> None:
    _, events = learnt(OpenCall(**HEADING, counsellor="1001"), RingNow(**HEADING))
    assert events == []


def test_a_claim_from_the_silence_lapses_like_any_other() -> None:
    call, _ = learnt(late(CLAIMED))
    due = NIGHT + timedelta(seconds=CITIES[CITY].clocks.claim)
    assert calls.deadline(CITIES, call) == due
    passed = DeadlinePassed(**HEADING, instance=str(CASE), home=CITY, due=due)
    assert "AlarmReleased" in [type(event).__name__ for event in calls.decide(CITIES, call, passed, due)]
