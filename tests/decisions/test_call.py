"""A hotline call: what may be recorded when, and that no history of it forgets a person in danger."""

from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.hotline_intake import follow_up
from services.hotline_intake.alarm.decide import ClaimAlarm, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import (
    Call,
    CallStatus,
    EndCall,
    Escalate,
    OpenCall,
    PlanFollowUp,
    RecordBrief,
    RecordPlace,
    RecordScreening,
    deadline,
    decide,
    evolve,
)
from shared.contract.callouts import CallOutCancelled, CallOutRejected, Report
from shared.contract.calls import (
    CallEnded,
    CallEnding,
    CallReceived,
    EscalationRequested,
    FollowUp,
    FollowUpPlanned,
    PlaceReported,
    ScreeningRecorded,
)
from shared.contract.city import Cities
from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import (
    CallOutCancelRequested,
    CallOutOrdered,
    IncidentOpened,
    IncidentRaised,
    Purpose,
)
from shared.contract.ledger import OPEN
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Confidence, Place, Situation, Tier

CASE = UUID("0197a000-0000-7000-8000-000000000001")
CITY = "140700"
NIGHT = datetime(2026, 3, 1, 14, tzinfo=UTC)
SEALED = "s1." + "a" * 40
OTHER = "s1." + "b" * 40
BY = {"case": CASE, "city": CITY, "by": "1001"}
HEADING = {"case": CASE, "city": CITY}
SAID = {**HEADING, "at": NIGHT}

OPENED = OpenCall(**HEADING, counsellor="1001", caller=SEALED)
PLACE = Place(confidence=Confidence.READ_BACK, city=CITY, text=SEALED)
SCREENED = RecordScreening(**BY, screening=UUID(int=1), answers=SEALED, danger=True)
COMPLETED, LOST = EndCall(**BY, how=CallEnding.COMPLETED), EndCall(**BY, how=CallEnding.LOST)
PLANNED = PlanFollowUp(**BY, follow_ups=(FollowUp(due=date(2026, 3, 2)),))
FACTS = [
    RecordPlace(**HEADING, place=PLACE),
    RecordBrief(**HEADING, brief=SEALED),
    SCREENED,
    Escalate(**BY),
    PLANNED,
]


NO_CITIES = Cities(())


def after(*messages: Message) -> Call:
    call = Call()
    for message in messages:
        call = reduce(evolve, decide(NO_CITIES, call, message, NIGHT), call)
    return call


def refusal(call: Call, command: Command) -> Rejected:
    with pytest.raises(Rejected) as refused:
        decide(NO_CITIES, call, command, NIGHT)
    return refused.value


def test_a_call_is_received_once() -> None:
    assert decide(NO_CITIES, Call(), OPENED, NIGHT) == (CallReceived(**SAID, counsellor="1001", caller=SEALED),)
    assert decide(NO_CITIES, after(OPENED), OPENED, NIGHT) == ()


@pytest.mark.parametrize("other", [{"counsellor": "1002"}, {"caller": OTHER}])
def test_a_call_open_with_other_facts_is_another_call(other: dict[str, str]) -> None:
    assert refusal(after(OPENED), OPENED.model_copy(update=other)).code == "call_exists"


@pytest.mark.parametrize("fact", [*FACTS[:3], PLANNED, COMPLETED], ids=lambda fact: type(fact).__name__)
def test_nothing_but_an_escalation_is_recorded_in_a_call_that_nobody_opened(fact: Command) -> None:
    refused = refusal(Call(), fact)
    assert (refused.code, refused.status) == ("call_unknown", 404)


def test_a_call_of_another_citys_line_is_unknown_here() -> None:
    assert refusal(after(OPENED), SCREENED.model_copy(update={"city": "140100"})).code == "call_unknown"


@pytest.mark.parametrize("ending", [COMPLETED, LOST])
@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_facts_still_come_in_after_the_call(fact: Command, ending: EndCall) -> None:
    assert len(decide(NO_CITIES, after(OPENED, ending), fact, NIGHT)) == 1


def test_a_screening_carries_what_the_call_knows() -> None:
    [recorded] = decide(NO_CITIES, after(OPENED, *FACTS[:2]), SCREENED, NIGHT)
    assert isinstance(recorded, ScreeningRecorded)
    assert recorded.situation == Situation(place=PLACE, brief=SEALED, counsellor="1001")


def test_an_escalation_opens_a_call_that_nobody_opened() -> None:
    received, asked = decide(NO_CITIES, Call(), Escalate(**BY, desks=("110",)), NIGHT)
    assert received == CallReceived(**SAID, counsellor="1001")
    assert asked == EscalationRequested(**SAID, by="1001", desks=("110",), situation=Situation(counsellor="1001"))


def test_a_call_opened_by_an_escalation_learns_its_number_later() -> None:
    call = after(Escalate(**BY), OPENED)
    assert (call.status, call.caller) == (CallStatus.OPEN, SEALED)


def test_every_escalation_is_passed_on() -> None:
    assert len(decide(NO_CITIES, after(OPENED, Escalate(**BY)), Escalate(**BY), NIGHT)) == 1


def test_a_place_heard_twice_is_news_once() -> None:
    heard = RecordPlace(**HEADING, place=PLACE)
    assert decide(NO_CITIES, after(OPENED), heard, NIGHT) == (PlaceReported(**SAID, place=PLACE),)
    assert decide(NO_CITIES, after(OPENED, heard), heard, NIGHT) == ()


def test_a_call_ends_one_way() -> None:
    assert decide(NO_CITIES, after(OPENED), LOST, NIGHT) == (CallEnded(**SAID, how=CallEnding.LOST, by="1001"),)
    assert decide(NO_CITIES, after(OPENED, LOST), LOST, NIGHT) == ()
    assert refusal(after(OPENED, LOST), COMPLETED).code == "call_ended"


def test_a_later_plan_replaces_an_earlier_one() -> None:
    later = PLANNED.model_copy(update={"follow_ups": (FollowUp(due=date(2026, 3, 9), agreed=False),)})
    assert decide(NO_CITIES, after(OPENED, PLANNED), PLANNED, NIGHT) == ()
    assert decide(NO_CITIES, after(OPENED, PLANNED), later, NIGHT) == (
        FollowUpPlanned(**SAID, follow_ups=later.follow_ups, by="1001"),
    )


def test_the_standard_plan_is_next_day_one_week_and_one_three_and_twelve_months() -> None:
    due = [planned.due.isoformat() for planned in follow_up.standard_schedule(date(2026, 11, 30))]
    assert due == ["2026-12-01", "2026-12-07", "2026-12-30", "2027-02-28", "2027-11-30"]


desks = st.sampled_from(["140700-110", "140700-120", "140100-110"])
ns = st.integers(1, 3)
screenings = st.integers(1, 3).map(lambda number: UUID(int=number))
WHY: dict[str, Any] = {"tier": Tier.HIGH, "reasons": ("r",), "situation": Situation()}


def reports() -> st.SearchStrategy[Message]:
    needed = {"event_no": "A-1", "code": "c"}
    kinds = st.sampled_from(Report.__subclasses__())
    return st.builds(lambda kind, desk, n: kind(**SAID, desk=desk, n=n, **needed), kinds, desks, ns)


def verdicts() -> st.SearchStrategy[Message]:
    return st.builds(
        lambda s, now: RiskAssessed(**SAID, screening=s, dispatch_now=now, **WHY), screenings, st.booleans()
    )


def orders() -> st.SearchStrategy[Message]:
    purposes = st.sampled_from(Purpose)
    return st.builds(
        lambda desk, n, purpose: CallOutOrdered(**SAID, **WHY, desk=desk, n=n, purpose=purpose, accept_by=NIGHT),
        desks,
        ns,
        purposes,
    )


def people() -> st.SearchStrategy[Message]:
    hands = st.sampled_from(["1001", "1002"])
    settled = {"officer": "7", "event_no": "B-2"}
    return st.one_of(
        st.builds(lambda desk, by: ClaimAlarm(**HEADING, desk=desk, by=by), desks, hands),
        st.builds(lambda desk, by: ReleaseAlarm(**HEADING, desk=desk, by=by), desks, hands),
        st.builds(lambda desk, by: SettleAlarm(**HEADING, desk=desk, by=by, **settled), desks, hands),
        st.builds(lambda s, d: SCREENED.model_copy(update={"screening": s, "danger": d}), screenings, st.booleans()),
        st.builds(lambda kinds: Escalate(**BY, desks=kinds), st.sampled_from([(), ("110",), ("120", "119")])),
        st.sampled_from([OPENED, *FACTS, COMPLETED, LOST]),
    )


def others() -> st.SearchStrategy[Message]:
    asked = st.lists(desks, unique=True, max_size=2).map(tuple)
    return st.one_of(
        reports(),
        verdicts(),
        orders(),
        st.builds(lambda called: IncidentOpened(**SAID, **WHY, desks=called), asked),
        st.just(IncidentRaised(**SAID, **WHY)),
        st.builds(lambda d, n: CallOutCancelRequested(**SAID, desk=d, n=n, reason="r", by="2001"), desks, ns),
    )


woken = st.just(DeadlinePassed(**HEADING, instance=str(CASE), home=CITY, due=NIGHT))
histories = st.lists(st.tuples(st.floats(0, 150), st.one_of(people(), others(), woken)), max_size=40)


def live(history: list[tuple[float, Message]]) -> tuple[Call, list[Event], datetime]:
    """The call after a history told as (seconds later, message), and all that intake said in it."""
    call, said, now = Call(), list[Event](), NIGHT
    for seconds, message in history:
        now += timedelta(seconds=seconds)
        try:
            events = decide(NO_CITIES, call, message, now)
        except Rejected:
            assert isinstance(message, Command)
            continue
        call = reduce(evolve, events, call)
        said.extend(events)
    return call, said, now


@settings(max_examples=300, deadline=None)
@given(histories)
def test_no_history_leaves_the_table_and_the_call_is_the_fold_of_its_own_events(
    history: list[tuple[float, Message]],
) -> None:
    call, said, _ = live(history)
    heard = [type(event).model_validate_json(event.model_dump_json(exclude_none=True)) for event in said]
    assert reduce(evolve, heard, Call()) == call
    kept = TypeAdapter(Call)
    assert kept.validate_json(kept.dump_json(call)) == call


@settings(max_examples=300, deadline=None)
@given(histories)
def test_nobody_in_danger_is_forgotten(history: list[tuple[float, Message]]) -> None:
    call, said, _ = live(history)
    row = call.alarm
    if row.standing:
        assert row.alarming or deadline(NO_CITIES, call) is not None
    elif any(getattr(event, "danger", isinstance(event, EscalationRequested)) for event in said):
        assert row.unheard_since is None
        assert not [desk for desk in row.desks.values() if desk.phase in OPEN]


@settings(max_examples=300, deadline=None)
@given(histories)
def test_left_alone_a_standing_row_rings_and_then_waits_for_a_person(history: list[tuple[float, Message]]) -> None:
    call, _, now = live(history)
    standing = call.alarm.standing
    for _ in range(20):
        due = deadline(NO_CITIES, call)
        if due is None:
            break
        now = max(now, due)
        passed = DeadlinePassed(**HEADING, instance=str(CASE), home=CITY, due=due)
        call = reduce(evolve, decide(NO_CITIES, call, passed, now), call)
        later = deadline(NO_CITIES, call)
        assert later is None or later > due
    assert deadline(NO_CITIES, call) is None
    assert call.alarm.alarming == standing


@settings(max_examples=200, deadline=None)
@given(histories, st.sampled_from([(), ("110",), ("120",)]))
def test_an_escalation_is_never_refused(history: list[tuple[float, Message]], asked: tuple[str, ...]) -> None:
    call, _, now = live(history)
    events = decide(NO_CITIES, call, Escalate(**BY, desks=asked), now)
    assert isinstance(events[-1], EscalationRequested)
    assert reduce(evolve, events, call).alarm.standing


@settings(max_examples=200, deadline=None)
@given(histories, st.sampled_from([CallOutRejected, CallOutCancelled]))
def test_no_refusal_by_a_desk_ends_an_alarm(history: list[tuple[float, Message]], kind: type[Report]) -> None:
    call, _, now = live(history)
    refused = kind(**SAID, desk="140700-110", n=1, **({"code": "c"} if kind is CallOutRejected else {}))
    afterwards = reduce(evolve, decide(NO_CITIES, call, refused, now), call)
    assert afterwards.alarm.standing >= call.alarm.standing
