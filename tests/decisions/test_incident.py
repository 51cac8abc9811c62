"""The life of an incident: whom it calls out, what moves its legs, what silence means, and when it may be closed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.dispatch.closing import closing_gaps
from services.dispatch.incident import ALLOWED, Incident, IncidentStatus, evolve
from services.dispatch.response import deadline, decide
from services.dispatch.supervision import (
    CancelCallOut,
    CloseIncident,
    ConfirmContact,
    ExplainAbsence,
    OrderAgain,
    StandDown,
)
from shared.contract.callouts import (
    REPORTS,
    CallOutAccepted,
    CallOutArrived,
    CallOutAssigned,
    CallOutCancelled,
    CallOutCleared,
    CallOutContactMade,
    CallOutDelivered,
    CallOutEnRoute,
    CallOutNotFound,
    CallOutRejected,
    CallOutUnreachable,
    Report,
)
from shared.contract.calls import CallEnded, CallEnding, EscalationRequested, FollowUp, FollowUpPlanned, PlaceReported
from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import (
    CallNoted,
    CallOutCancelRequested,
    CallOutOrdered,
    CounsellingChanged,
    CounsellingState,
    IncidentClosed,
    IncidentOpened,
    IncidentRaised,
    LegChanged,
    LegOverdue,
    PlaceMoved,
    Purpose,
)
from shared.contract.outcomes import OUTCOMES
from shared.contract.risk import RiskAssessed
from shared.contract.terms import ENDED, LADDER, Confidence, Place, Rung, Situation, Tier
from tests.decisions.test_playbook import CITIES

CASE = UUID("0193b1c0-0000-7000-8000-000000123456")
NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
HOME, AWAY, NOWHERE = "140700", "140100", "141000"
POLICE, AMBULANCE, POLICE_AWAY, AMBULANCE_AWAY = "140700-110", "140700-120", "140100-110", "140100-120"
AT_HOME = Place(confidence=Confidence.READ_BACK, city=HOME, area_code="0354")
IN_AWAY = Place(confidence=Confidence.READ_BACK, city=AWAY, area_code="0351")
STATED = Place(confidence=Confidence.STATED, city=HOME)
M = TypeVar("M", bound=Message)
E = TypeVar("E", bound=Event)


def said(kind: type[M], **fields: Any) -> M:
    stamp = {"at": NOON} if issubclass(kind, Event) else {}
    return kind(case=CASE, city=HOME, **stamp, **fields)


def danger(tier: Tier = Tier.IMMINENT, *reasons: str, now: bool = True, place: Place | None = None) -> RiskAssessed:
    situation = Situation(place=place or Place(), counsellor="seat-1")
    return said(
        RiskAssessed, screening=CASE, tier=tier, reasons=reasons or ("acute",), dispatch_now=now, situation=situation
    )


def f9(*desks: str, place: Place | None = None) -> EscalationRequested:
    return said(EscalationRequested, by="seat-1", desks=desks, situation=Situation(place=place or Place()))


def place(known: Place) -> PlaceReported:
    return said(PlaceReported, place=known)


def ended(how: CallEnding = CallEnding.COMPLETED) -> CallEnded:
    return said(CallEnded, how=how, by="seat-1")


def planned() -> FollowUpPlanned:
    return said(FollowUpPlanned, follow_ups=(FollowUp(due=NOON.date()),), by="seat-1")


def report(kind: type[Report], desk: str = POLICE, n: int = 1, **fields: Any) -> Report:
    more = {"event_no": "J-7"} if kind is CallOutAccepted else {}
    more |= {"code": "done"} if kind in {CallOutCleared, CallOutRejected} else {}
    return said(kind, desk=desk, n=n, **{**more, **fields})


@dataclass
class Story:
    """One incident as it learns message after message, a second apart unless told otherwise."""

    incident: Incident = field(default_factory=Incident)
    now: datetime = NOON
    told: list[Event] = field(default_factory=list)

    def learns(self, *messages: Message, after: float = 1) -> tuple[Event, ...]:
        """What is announced on the last message."""
        events: tuple[Event, ...] = ()
        for message in messages:
            self.now += timedelta(seconds=after)
            events = decide(CITIES, self.incident, message, self.now)
            self.incident = reduce(evolve, events, self.incident)
            self.told.extend(events)
        return events

    def waits(self, seconds: float) -> tuple[Event, ...]:
        """What is announced when that time has passed in silence."""
        due = deadline(CITIES, self.incident) or self.now
        return self.learns(said(DeadlinePassed, instance=str(CASE), home=HOME, due=due), after=seconds)

    def refuses(self, command: Command) -> Rejected:
        with pytest.raises(Rejected) as refusal:
            decide(CITIES, self.incident, command, self.now)
        return refusal.value


def story(*messages: Message) -> Story:
    told = Story()
    told.learns(*messages)
    return told


def only(kind: type[E], events: Iterable[Event]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def called(events: Iterable[Event]) -> list[tuple[str, int]]:
    return [(order.desk, order.n) for order in only(CallOutOrdered, events)]


def rung(told: Story, desk: str = POLICE, n: int = 1) -> Rung:
    leg = told.incident.leg(desk, n)
    assert leg is not None
    return leg.rung


def test_an_act_in_progress_at_a_known_place_calls_out_police_and_ambulance_at_once() -> None:
    opened, *rest = Story().learns(danger(place=AT_HOME))
    assert isinstance(opened, IncidentOpened)
    assert opened.desks == (POLICE, AMBULANCE)
    assert called(rest) == [(POLICE, 1), (AMBULANCE, 1)]


def test_a_wired_desk_is_given_the_citys_time_to_accept() -> None:
    [order, _] = only(CallOutOrdered, Story().learns(danger(place=AT_HOME)))
    assert order.accept_by == order.at + timedelta(seconds=15)


@pytest.mark.parametrize("tier", list(Tier))
def test_an_assessment_that_asks_for_nobody_on_site_opens_nothing(tier: Tier) -> None:
    assert Story().learns(danger(tier, now=False)) == ()


@pytest.mark.parametrize("how", [Confidence.UNKNOWN, Confidence.GUESSED])
def test_without_a_place_the_lines_own_police_act_and_the_ambulance_desk_is_warned_by_voice(how: Confidence) -> None:
    events = Story().learns(danger(place=Place(confidence=how, city=AWAY, area_code="0351")))
    orders = [(order.desk, order.n, order.purpose) for order in only(CallOutOrdered, events)]
    assert orders == [(POLICE, 1, Purpose.ACT), (AMBULANCE, 0, Purpose.WARN)]
    assert only(IncidentOpened, events)[0].desks == (POLICE,)


def test_a_stated_place_in_another_city_sends_the_lines_own_desks() -> None:
    away = Place(confidence=Confidence.STATED, city=AWAY, area_code="0351")
    assert called(Story().learns(danger(place=away))) == [(POLICE, 1), (AMBULANCE, 1)]


def test_a_place_read_back_in_another_city_calls_out_that_citys_desks() -> None:
    assert called(Story().learns(danger(place=IN_AWAY))) == [(POLICE_AWAY, 1), (AMBULANCE_AWAY, 1)]


def test_a_city_without_a_pack_is_phoned_under_its_area_code() -> None:
    nowhere = Place(confidence=Confidence.READ_BACK, city=NOWHERE, area_code="0357")
    orders = only(CallOutOrdered, Story().learns(f9(place=nowhere)))
    assert [(order.desk, order.number) for order in orders] == [("141000-110", "0357110"), ("141000-120", "0357120")]


def test_f9_opens_with_nothing_else_known_and_adds_the_kinds_it_asks_for() -> None:
    opened, *rest = Story().learns(f9("119"))
    assert isinstance(opened, IncidentOpened)
    assert (opened.tier, opened.reasons, opened.by) == (None, ("escalated_by_hand",), "seat-1")
    assert called(rest) == [(POLICE, 1), (AMBULANCE, 0), ("140700-119", 1)]


def test_f9_joins_an_open_incident_and_calls_only_kinds_not_yet_called() -> None:
    raised, *rest = story(danger(place=AT_HOME)).learns(f9("119"))
    assert isinstance(raised, IncidentRaised)
    assert (raised.tier, raised.reasons) == (Tier.IMMINENT, ("acute", "escalated_by_hand"))
    assert called(rest) == [("140700-119", 1)]


def test_f9_calls_a_desk_again_once_its_part_has_ended() -> None:
    told = story(danger(place=AT_HOME), report(CallOutRejected, code="wrong_jurisdiction"))
    assert called(told.learns(f9())) == [(POLICE, 2)]


def test_a_higher_tier_raises_and_a_lower_one_undoes_nothing() -> None:
    told = story(danger(Tier.HIGH, "score", place=AT_HOME))
    assert told.learns(danger(Tier.LOW, "calm", now=False)) == ()
    [raised] = told.learns(danger(Tier.IMMINENT, "in_progress"))
    assert isinstance(raised, IncidentRaised)
    assert (raised.tier, raised.reasons) == (Tier.IMMINENT, ("score", "in_progress"))
    [again] = told.learns(danger(Tier.HIGH, "score"))
    assert isinstance(again, IncidentRaised)
    assert again.tier is Tier.IMMINENT


def test_new_danger_calls_back_a_desk_that_had_cleared_but_not_one_that_rejected() -> None:
    cleared = story(danger(Tier.HIGH, "plan", place=AT_HOME), report(CallOutCleared))
    assert called(cleared.learns(danger(Tier.IMMINENT, "in_progress"))) == [(POLICE, 2)]
    rejected = story(danger(Tier.HIGH, "plan", place=AT_HOME), report(CallOutRejected))
    assert called(rejected.learns(danger(Tier.IMMINENT, "in_progress"))) == []


def test_the_same_danger_assessed_again_calls_nobody_a_second_time() -> None:
    told = story(danger(place=AT_HOME), report(CallOutCleared))
    assert called(told.learns(danger(place=AT_HOME))) == []


def test_the_ambulance_that_was_only_warned_is_called_out_as_soon_as_there_is_a_place() -> None:
    moved, *rest = story(danger()).learns(place(STATED))
    assert isinstance(moved, PlaceMoved)
    assert called(rest) == [(AMBULANCE, 1)]


def test_the_same_place_again_changes_nothing_and_a_better_address_calls_nobody_anew() -> None:
    told = story(danger(place=STATED))
    assert told.learns(place(STATED)) == ()
    assert [type(event) for event in told.learns(place(AT_HOME))] == [PlaceMoved]


def test_a_place_in_another_city_calls_its_desks_and_releases_nobody_yet() -> None:
    events = story(danger(place=AT_HOME), report(CallOutAccepted)).learns(place(IN_AWAY))
    assert called(events) == [(POLICE_AWAY, 1), (AMBULANCE_AWAY, 1)]
    assert only(CallOutCancelRequested, events) == []


def test_the_first_desk_is_released_only_when_the_second_of_its_kind_has_accepted() -> None:
    told = story(danger(place=AT_HOME), place(IN_AWAY))
    assert only(CallOutCancelRequested, told.learns(report(CallOutDelivered, POLICE_AWAY))) == []
    [cancel] = only(CallOutCancelRequested, told.learns(report(CallOutAccepted, POLICE_AWAY)))
    assert (cancel.desk, cancel.n, cancel.reason, cancel.by) == (POLICE, 1, "place_moved", "playbook")


def test_a_guess_never_moves_the_response_to_another_city() -> None:
    told = story(danger(place=IN_AWAY))
    assert called(told.learns(place(Place(confidence=Confidence.GUESSED, city=HOME)))) == []


def test_when_the_person_turns_back_the_first_desk_that_still_has_it_keeps_it() -> None:
    told = story(danger(place=AT_HOME), report(CallOutAccepted), place(IN_AWAY))
    events = told.learns(place(AT_HOME))
    assert called(events) == []
    assert [(cancel.desk, cancel.n) for cancel in only(CallOutCancelRequested, events)] == [(POLICE_AWAY, 1)]


def test_a_desk_released_too_early_is_called_out_again_when_it_agrees_to_stand_down() -> None:
    told = story(danger(place=AT_HOME), place(IN_AWAY), report(CallOutAccepted, POLICE_AWAY), place(AT_HOME))
    assert called(told.learns(report(CallOutCancelled))) == [(POLICE, 2)]


def test_another_citys_desk_that_a_person_named_after_the_move_is_not_released() -> None:
    told = story(danger(place=AT_HOME), place(IN_AWAY), report(CallOutRejected), order_again(POLICE))
    assert only(CallOutCancelRequested, told.learns(report(CallOutAccepted, POLICE_AWAY))) == []


def test_a_kind_that_a_person_stood_down_is_not_called_out_by_a_new_place() -> None:
    told = story(danger(Tier.HIGH), said(StandDown, reason="safe", by="lead-1"))
    assert called(told.learns(place(IN_AWAY))) == []


@pytest.mark.parametrize("kind", REPORTS.values())
def test_every_report_moves_its_leg_with_what_the_desk_named(kind: type[Report]) -> None:
    [changed] = story(danger(place=AT_HOME)).learns(report(kind, officer="P-1"))
    assert isinstance(changed, LegChanged)
    assert (changed.desk, changed.n, changed.rung, changed.officer) == (POLICE, 1, kind.rung, "P-1")


def test_a_late_or_repeated_report_never_moves_a_leg_back() -> None:
    told = story(danger(place=AT_HOME), report(CallOutArrived))
    assert told.learns(report(CallOutDelivered)) == ()
    assert told.learns(report(CallOutArrived)) == ()
    assert rung(told) is Rung.ARRIVED


def test_an_acceptance_that_comes_after_the_arrival_still_names_the_event() -> None:
    told = story(danger(place=AT_HOME), report(CallOutArrived), report(CallOutAccepted, officer="P-1"))
    [leg, _] = told.incident.legs
    assert (leg.rung, leg.officer, leg.event_no) == (Rung.ARRIVED, "P-1", "J-7")


def test_a_person_given_up_as_not_found_may_still_be_found_and_never_the_other_way_round() -> None:
    told = story(danger(place=AT_HOME), report(CallOutNotFound), report(CallOutContactMade))
    assert rung(told) is Rung.CONTACT
    assert told.learns(report(CallOutNotFound)) == ()


def test_a_desk_without_an_answer_keeps_its_rung_and_says_why() -> None:
    told = story(danger(place=AT_HOME))
    [changed] = told.learns(said(CallOutUnreachable, desk=POLICE, n=1, reason="timeout"))
    assert isinstance(changed, LegChanged)
    assert (changed.rung, changed.code) == (Rung.REQUESTED, "timeout")
    assert told.learns(said(CallOutUnreachable, desk=POLICE, n=1, reason="timeout")) == ()


def test_what_a_desk_said_by_phone_before_the_order_is_on_the_leg_when_it_begins() -> None:
    told = story(report(CallOutAccepted, officer="P-1"), report(CallOutArrived), report(CallOutAssigned))
    told.learns(danger(place=AT_HOME))
    [leg, _] = told.incident.legs
    assert (leg.n, leg.rung, leg.officer, leg.event_no) == (1, Rung.ARRIVED, "P-1", "J-7")
    assert leg.reached.keys() == {Rung.REQUESTED, Rung.ACCEPTED, Rung.ARRIVED}


def test_what_overtook_the_assessment_is_not_lost() -> None:
    told = story(place(IN_AWAY), ended(CallEnding.LOST), planned())
    assert [type(event) for event in told.told] == [CallNoted] * 3
    assert called(told.learns(danger())) == [(POLICE_AWAY, 1), (AMBULANCE_AWAY, 1)]
    assert told.incident.counselling is CounsellingState.LOST
    assert told.incident.follow_up


def test_a_place_heard_of_directly_wins_over_the_older_one_that_the_assessment_carries() -> None:
    assert called(story(place(IN_AWAY)).learns(danger(place=AT_HOME))) == [(POLICE_AWAY, 1), (AMBULANCE_AWAY, 1)]


def test_a_place_heard_of_too_late_corrects_the_one_that_the_opening_took_for_newer() -> None:
    told = story(place(AT_HOME), danger(place=IN_AWAY))
    assert called(told.learns(place(IN_AWAY))) == [(POLICE_AWAY, 1), (AMBULANCE_AWAY, 1)]


@pytest.mark.parametrize(("how", "state"), [(CallEnding.COMPLETED, "ended"), (CallEnding.LOST, "lost")])
def test_the_counselling_leg_is_on_line_until_the_call_ends(how: CallEnding, state: str) -> None:
    told = story(danger())
    assert told.incident.counselling is CounsellingState.ON_LINE
    [changed] = told.learns(ended(how))
    assert isinstance(changed, CounsellingChanged)
    assert changed.state.value == state
    assert told.learns(ended(how)) == ()


def test_without_a_counsellor_the_counselling_leg_is_absent() -> None:
    assert story(f9()).incident.counselling is CounsellingState.ABSENT


def test_a_wired_desk_is_late_for_each_rung_counted_from_the_one_before_and_once() -> None:
    told = story(danger(place=AT_HOME), report(CallOutAccepted, AMBULANCE), report(CallOutEnRoute, AMBULANCE))
    [late] = only(LegOverdue, told.waits(15))
    assert (late.desk, late.rung) == (POLICE, Rung.ACCEPTED)
    assert told.waits(60) == ()
    told.learns(report(CallOutAccepted))
    assert [event.rung for event in only(LegOverdue, told.waits(60))] == [Rung.ASSIGNED]
    told.learns(report(CallOutAssigned))
    assert deadline(CITIES, told.incident) == told.now + timedelta(seconds=180)


def test_a_phone_desk_owes_its_acceptance_and_then_only_the_call_backs() -> None:
    nowhere = Place(confidence=Confidence.READ_BACK, city=NOWHERE, area_code="0357")
    told = story(danger(place=nowhere))
    assert deadline(CITIES, told.incident) == told.now + timedelta(seconds=120)
    told.learns(report(CallOutAccepted, "141000-110"), report(CallOutAccepted, "141000-120"))
    assert [late.rung for late in only(LegOverdue, told.waits(600))] == [Rung.EN_ROUTE] * 2
    told.learns(report(CallOutArrived, "141000-110"))
    assert [(late.desk, late.rung) for late in only(LegOverdue, told.waits(600))] == [("141000-120", Rung.ARRIVED)]
    assert [late.rung for late in only(LegOverdue, told.waits(1200))] == [Rung.CONTACT] * 2
    assert deadline(CITIES, told.incident) is None


def test_a_desk_asked_to_stand_down_is_late_for_nothing() -> None:
    told = story(danger(Tier.HIGH, place=AT_HOME), said(StandDown, reason="safe", by="lead-1"))
    assert deadline(CITIES, told.incident) is None


def order_again(desk: str) -> OrderAgain:
    return said(OrderAgain, desk=desk, reason="corrected", by="lead-1")


@pytest.mark.parametrize("kind", [CallOutRejected, CallOutCancelled, CallOutNotFound, CallOutCleared])
def test_a_person_may_call_a_desk_out_again_once_it_has_ended_or_found_nobody(kind: type[Report]) -> None:
    [order] = only(CallOutOrdered, story(danger(place=AT_HOME), report(kind)).learns(order_again("110")))
    assert (order.desk, order.n, order.by, order.because) == (POLICE, 2, "lead-1", "corrected")


def test_a_desk_that_still_has_it_is_not_called_out_twice() -> None:
    refusal = story(danger(place=AT_HOME), report(CallOutAccepted)).refuses(order_again(POLICE))
    assert refusal.code == "callout_still_open"
    assert "accepted" in refusal.detail


def test_the_report_of_an_earlier_call_out_moves_its_own_leg_only() -> None:
    told = story(danger(place=AT_HOME), report(CallOutNotFound), order_again("110"), report(CallOutCleared, n=1))
    assert (rung(told, n=1), rung(told, n=2)) == (Rung.CLEARED, Rung.REQUESTED)


def test_a_person_may_name_another_citys_desk_but_none_that_nobody_can_reach() -> None:
    told = story(danger(place=AT_HOME))
    assert called(told.learns(order_again(POLICE_AWAY))) == [(POLICE_AWAY, 1)]
    assert told.refuses(order_again("140700-122")).code == "unknown_desk"
    assert told.refuses(order_again("141000-110")).code == "unknown_desk"


def test_nobody_here_stands_down_an_act_in_progress_before_contact_is_made() -> None:
    told = story(danger(Tier.IMMINENT, place=AT_HOME))
    down = said(StandDown, reason="seems_calm", by="lead-1")
    assert told.refuses(down).code == "act_in_progress"
    assert told.refuses(said(CancelCallOut, desk="120", reason="seems_calm", by="lead-1")).code == "act_in_progress"
    told.learns(report(CallOutContactMade))
    assert [(cancel.desk, cancel.by) for cancel in only(CallOutCancelRequested, told.learns(down))] == [
        (POLICE, "lead-1"),
        (AMBULANCE, "lead-1"),
    ]


def test_standing_down_asks_every_desk_the_warned_one_too_and_only_once() -> None:
    told = story(danger(Tier.HIGH))
    down = said(StandDown, reason="safe", by="lead-1")
    assert [(c.desk, c.n) for c in only(CallOutCancelRequested, told.learns(down))] == [(POLICE, 1), (AMBULANCE, 0)]
    assert told.refuses(down).code == "nothing_to_stand_down"


def test_one_desk_of_two_may_be_let_go_in_an_act_in_progress_once_the_other_has_accepted() -> None:
    told = story(danger(Tier.IMMINENT, place=AT_HOME), order_again(POLICE_AWAY), report(CallOutAccepted, POLICE_AWAY))
    assert told.refuses(said(CancelCallOut, desk="110", reason="two_cars", by="lead-1")).code == "which_desk"
    [cancel] = told.learns(said(CancelCallOut, desk=POLICE, reason="two_cars", by="lead-1"))
    assert isinstance(cancel, CallOutCancelRequested)
    again = told.refuses(said(CancelCallOut, desk=POLICE, reason="two_cars", by="lead-1"))
    assert again.code == "no_open_callout"


def test_danger_that_comes_while_a_desk_is_standing_down_calls_it_back() -> None:
    told = story(danger(Tier.HIGH, place=AT_HOME), said(StandDown, reason="safe", by="lead-1"), f9())
    assert called(told.learns(report(CallOutCancelled))) == [(POLICE, 2)]


def close(outcome: str = "safe_at_home") -> CloseIncident:
    return said(CloseIncident, outcome=outcome, by="lead-1")


def test_closing_names_everything_that_is_missing_at_once() -> None:
    refusal = story(danger(place=AT_HOME), report(CallOutArrived)).refuses(close("fine"))
    assert refusal.code == "cannot_close"
    for words in (
        "140700-110/1 has not ended (it is arrived)",
        "140700-120/1",
        "still on the line",
        "contact",
        "follow-up plan",
        "'fine'",
    ):
        assert words in refusal.detail


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_incident_closes_with_legs_ended_contact_made_a_plan_and_an_outcome(outcome: str) -> None:
    told = story(danger(place=AT_HOME), report(CallOutContactMade), ended(), planned())
    told.learns(report(CallOutCleared), report(CallOutCleared, AMBULANCE))
    [closed] = told.learns(close(outcome))
    assert isinstance(closed, IncidentClosed)
    assert told.incident.status is IncidentStatus.CLOSED


def test_a_warning_that_nobody_answered_does_not_keep_an_incident_open() -> None:
    told = story(f9(), report(CallOutCleared), planned(), said(ConfirmContact, by="seat-1"))
    assert closing_gaps(told.incident) == ()


def test_an_absence_must_be_explained_unless_somebody_made_contact() -> None:
    told = story(f9(), report(CallOutCleared), planned())
    assert [gap.code for gap in closing_gaps(told.incident)] == ["contact_open"]
    told.learns(said(ExplainAbsence, reason="gone_before_arrival", by="lead-1"))
    assert closing_gaps(told.incident) == ()
    told.learns(said(ConfirmContact, by="seat-1"))
    assert told.refuses(said(ExplainAbsence, reason="late", by="lead-1")).code == "contact_confirmed"


def closed_story() -> Story:
    told = story(f9(place=AT_HOME), report(CallOutContactMade), report(CallOutCleared))
    told.learns(report(CallOutCleared, AMBULANCE), planned(), close())
    return told


def test_a_closed_incident_hears_nothing_and_refuses_every_wish() -> None:
    told = closed_story()
    assert told.learns(place(IN_AWAY), ended(), planned(), report(CallOutDelivered)) == ()
    assert told.refuses(order_again("110")).code == "incident_closed"


def test_new_danger_after_the_closing_opens_it_again_and_calls_everybody_again() -> None:
    told = closed_story()
    opened, *rest = told.learns(f9(place=AT_HOME))
    assert isinstance(opened, IncidentOpened)
    assert called(rest) == [(POLICE, 2), (AMBULANCE, 2)]
    assert not told.incident.contact


def test_a_wish_about_a_call_without_an_incident_is_not_found() -> None:
    refusal = Story().refuses(close())
    assert (refusal.code, refusal.status) == ("no_incident", 404)


PLACES = st.builds(
    Place,
    confidence=st.sampled_from(Confidence),
    city=st.sampled_from([None, HOME, AWAY, NOWHERE]),
    area_code=st.sampled_from([None, "0354"]),
)
LIKELY: list[type[Report]] = [CallOutAccepted, CallOutCleared, CallOutCancelled]
DESKS = st.sampled_from([POLICE, AMBULANCE, POLICE_AWAY, AMBULANCE_AWAY, "141000-110"])
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        lambda tier, reason, now, known: danger(tier, reason, now=now, place=known),
        st.sampled_from(Tier),
        st.sampled_from(["acute", "score"]),
        st.booleans(),
        PLACES,
    ),
    st.builds(lambda desks, known: f9(*desks, place=known), st.sets(st.sampled_from(["119", "110"])), PLACES),
    st.builds(place, PLACES),
    st.builds(ended, st.sampled_from(CallEnding)),
    st.just(planned()),
    st.builds(report, st.sampled_from(list(REPORTS.values())), DESKS, st.integers(0, 3)),
    st.builds(report, st.sampled_from(LIKELY), DESKS, st.just(1)),
    st.builds(lambda desk: said(CallOutUnreachable, desk=desk, n=1, reason="timeout"), DESKS),
    st.builds(order_again, st.one_of(DESKS, st.sampled_from(["110", "120", "119"]))),
    st.builds(lambda desk: said(CancelCallOut, desk=desk, reason="r", by="lead-1"), DESKS),
    st.just(said(StandDown, reason="r", by="lead-1")),
    st.just(said(ConfirmContact, by="lead-1")),
    st.just(said(ExplainAbsence, reason="r", by="lead-1")),
    st.builds(close, st.sampled_from(["hospital", "nonsense"])),
    st.just(said(DeadlinePassed, instance=str(CASE), home=HOME, due=NOON)),
)


@dataclass(frozen=True)
class Step:
    before: Incident
    message: Message
    events: tuple[Event, ...]
    after: Incident


def fitting(incident: Incident) -> st.SearchStrategy[Message]:
    """What brings an incident further: news of desks it did call out, and what its closing needs."""
    towards_the_end: st.SearchStrategy[Message] = st.sampled_from(
        [ended(), planned(), said(ConfirmContact, by="lead-1"), close("hospital")]
    )
    open_legs = [(leg.desk, leg.n) for leg in incident.legs if leg.open]
    if not open_legs:
        return towards_the_end
    reports = st.builds(lambda leg, kind: report(kind, *leg), st.sampled_from(open_legs), st.sampled_from(LIKELY))
    return st.one_of(reports, reports, towards_the_end)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Any history: every message is learnt, and a refused wish changes nothing. An event refused fails the test."""
    steps, incident, now = [], Incident(), NOON
    for likely in draw(st.lists(st.booleans(), min_size=10, max_size=50)):
        message = draw(fitting(incident) if likely else MESSAGES)
        now += timedelta(seconds=draw(st.sampled_from([0, 1, 30, 900])))
        try:
            events = decide(CITIES, incident, message, now)
        except Rejected:
            assert isinstance(message, Command)
            continue
        after = reduce(evolve, events, incident)
        steps.append(Step(incident, message, events, after))
        incident = after
    return steps


@given(histories())
@settings(max_examples=150, deadline=None)
def test_no_history_leaves_the_table_and_every_state_is_the_fold_of_its_own_events(steps: list[Step]) -> None:
    events = [event for step in steps for event in step.events]
    folded = reduce(evolve, events, Incident())
    assert folded == (steps[-1].after if steps else Incident())
    kept = TypeAdapter(Incident)
    assert kept.validate_json(kept.dump_json(folded)) == folded
    deadline(CITIES, folded)


@given(histories())
@settings(max_examples=150, deadline=None)
def test_n_rises_only_by_a_decision_and_never_past_a_call_out_that_is_still_open(steps: list[Step]) -> None:
    for step in steps:
        for order in only(CallOutOrdered, step.events):
            last = step.before.last(order.desk)
            assert order.n == (0 if order.purpose is Purpose.WARN else last.n + 1 if last else 1)
            if order.n > 1 and last is not None:
                stood_down = isinstance(step.message, CallOutCancelled)
                decision = OrderAgain | PlaceReported | EscalationRequested | RiskAssessed
                assert stood_down or isinstance(step.message, decision)
                assert stood_down or last.rung in ENDED | {Rung.NOT_FOUND}


@given(histories())
@settings(max_examples=150, deadline=None)
def test_no_two_call_outs_share_a_key_and_no_leg_ever_moves_down(steps: list[Step]) -> None:
    for step in steps:
        keys = [(leg.desk, leg.n) for leg in step.after.legs]
        assert len(keys) == len(set(keys))
        for leg in step.before.legs:
            later = step.after.leg(leg.desk, leg.n)
            assert later is not None
            assert LADDER[later.rung] >= LADDER[leg.rung]


@given(histories())
@settings(max_examples=150, deadline=None)
def test_an_incident_never_closes_with_an_open_leg_and_no_danger_ever_stays_without_its_police(
    steps: list[Step],
) -> None:
    for step in steps:
        if only(IncidentClosed, step.events):
            assert closing_gaps(step.before) == ()
            assert all(leg.rung in ENDED for leg in step.after.legs if leg.acts)
        if only(IncidentOpened, step.events):
            assert any(leg.kind == "110" for leg in step.after.current)


def test_every_event_in_the_table_is_one_that_dispatch_says() -> None:
    said_by_dispatch = {event for row in ALLOWED.values() for event in row}
    assert {event.topic for event in said_by_dispatch} == {"dispatch.incidents"}
