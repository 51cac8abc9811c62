"""The ledger over a call: which silence rings a human, and what ends the ringing."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import pytest

from services.hotline_intake import call as calls
from services.hotline_intake.alarm.decide import ClaimAlarm, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import Call, Escalate, OpenCall, RecordScreening
from shared.contract.callouts import (
    CallOutAccepted,
    CallOutArrived,
    CallOutCancelled,
    CallOutCleared,
    CallOutDelivered,
    CallOutRejected,
    Report,
)
from shared.contract.calls import (
    AlarmClaimed,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    DeskConfirmed,
    RescueAwaited,
    WatchCleared,
)
from shared.contract.city import Cities
from shared.contract.event import DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import (
    CallOutCancelRequested,
    CallOutOrdered,
    IncidentOpened,
    IncidentRaised,
    Purpose,
)
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

OPENED = OpenCall(**HEADING, counsellor="1001")
F9 = Escalate(**HEADING, by="1001")


def saved(number: int, *, danger: bool = True) -> RecordScreening:
    answers = "s1." + "a" * 40
    return RecordScreening(**HEADING, screening=UUID(int=number), answers=answers, danger=danger, by="1001")


def assessed(number: int, *, dispatch_now: bool) -> RiskAssessed:
    tier = Tier.HIGH if dispatch_now else Tier.MODERATE
    verdict = {"tier": tier, "reasons": ("r",), "dispatch_now": dispatch_now, "situation": Situation()}
    return RiskAssessed(**SAID, screening=UUID(int=number), **verdict)


def opened(*desks: str) -> IncidentOpened:
    return IncidentOpened(**SAID, tier=Tier.HIGH, reasons=("r",), situation=Situation(), desks=desks)


def ordered(desk: str, n: int = 1, purpose: Purpose = Purpose.ACT) -> CallOutOrdered:
    why = {"tier": Tier.HIGH, "reasons": ("r",), "situation": Situation(), "accept_by": NIGHT}
    return CallOutOrdered(**SAID, desk=desk, n=n, purpose=purpose, **why)


RAISED = IncidentRaised(**SAID, tier=Tier.HIGH, reasons=("r",), situation=Situation())


def accepted(desk: str, n: int = 1) -> CallOutAccepted:
    return CallOutAccepted(**SAID, desk=desk, n=n, officer="012345", event_no="A-1")


def stand_down(desk: str, n: int = 1) -> CallOutCancelRequested:
    return CallOutCancelRequested(**SAID, desk=desk, n=n, reason="false_alarm", by="2001")


def claim(desk: str = POLICE, by: str = "1002") -> ClaimAlarm:
    return ClaimAlarm(**HEADING, desk=desk, by=by)


def release(desk: str = POLICE, by: str = "1002") -> ReleaseAlarm:
    return ReleaseAlarm(**HEADING, desk=desk, by=by)


def settle(desk: str = POLICE, event_no: str = "B-2") -> SettleAlarm:
    return SettleAlarm(**HEADING, desk=desk, by="1002", officer="7", event_no=event_no)


class Night:
    """One call, told as seconds after its first danger; the deadlines that pass on the way are delivered."""

    def __init__(self) -> None:
        self.call = Call()
        self.said: list[Event] = []

    def at(self, seconds: float, *messages: Message) -> list[Event]:
        """What intake says when it learns these at that second, after whatever fell due before."""
        now = NIGHT + timedelta(seconds=seconds)
        self.said = []
        while (due := calls.deadline(CITIES, self.call)) and due <= now:
            self._learn(DeadlinePassed(**HEADING, instance=str(CASE), home=CITY, due=due), due)
        for message in messages:
            self._learn(message, now)
        return self.said

    def _learn(self, message: Message, now: datetime) -> None:
        events = calls.decide(CITIES, self.call, message, now)
        self.call = reduce(calls.evolve, events, self.call)
        self.said.extend(events)

    def phase(self, desk: str) -> Phase:
        """How far the ledger is with that desk."""
        return self.call.alarm.desks[desk].phase

    def due_in(self) -> float | None:
        """Seconds from the first danger to the next moment at which silence means something."""
        due = calls.deadline(CITIES, self.call)
        return None if due is None else (due - NIGHT).total_seconds()


@pytest.fixture
def night() -> Night:
    """A call with a danger-positive screening saved at second 0."""
    told = Night()
    told.at(0, OPENED, saved(1))
    return told


@pytest.fixture
def called_out(night: Night) -> Night:
    """The same, with 110 and 120 called out one second later."""
    night.at(1, assessed(1, dispatch_now=True), opened(POLICE, AMBULANCE), ordered(POLICE), ordered(AMBULANCE))
    return night


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def raised(events: list[Event]) -> dict[str, str]:
    """Each desk that an alarm was raised for, with the silence that it names."""
    return {desk: event.because for event in events if isinstance(event, AlarmRaised) for desk in event.desks}


def test_a_harmless_screening_arms_nothing() -> None:
    night = Night()
    night.at(0, OPENED, saved(1, danger=False))
    assert (night.due_in(), night.call.alarm.standing) == (None, False)


def test_saved_danger_that_nobody_assesses_rings_for_the_lines_own_110_after_ten_seconds(night: Night) -> None:
    assert night.due_in() == 10
    assert raised(night.at(10)) == {POLICE: "unassessed"}
    assert calls.is_alarming(night.call)
    assert night.at(3600) == []


@pytest.mark.parametrize(("leapt", "back"), [(600, 0), (0, -3600)])
def test_a_clock_that_comes_back_puts_no_ring_off(leapt: float, back: float) -> None:
    night = Night()
    night.at(leapt, OPENED, saved(1))
    night.at(back, opened(POLICE))
    assert night.due_in() == back + 20


def test_an_escalation_by_hand_that_nobody_orders_rings_for_the_desks_it_asked_for() -> None:
    night = Night()
    night.at(0, Escalate(**HEADING, by="1001", desks=("110", "120")))
    assert raised(night.at(10)) == {POLICE: "unordered", AMBULANCE: "unordered"}


def test_an_assessment_below_dispatch_closes_the_row(night: Night) -> None:
    assert kinds(night.at(1, assessed(1, dispatch_now=False))) == [WatchCleared]
    assert night.due_in() is None


def test_only_the_assessment_of_the_latest_danger_closes_the_row(night: Night) -> None:
    night.at(1, saved(2))
    assert night.at(2, assessed(1, dispatch_now=False)) == []
    assert kinds(night.at(3, assessed(2, dispatch_now=False))) == [WatchCleared]


def test_an_escalation_by_hand_is_never_closed_by_an_assessment(night: Night) -> None:
    night.at(1, F9)
    assert night.at(2, assessed(1, dispatch_now=False)) == []
    assert raised(night.at(10)) == {POLICE: "unordered"}


def test_an_assessment_that_comes_while_it_rings_ends_the_ringing(night: Night) -> None:
    night.at(10)
    assert kinds(night.at(11, assessed(1, dispatch_now=False))) == [WatchCleared]
    assert not calls.is_alarming(night.call)


def test_an_assessment_does_not_take_the_card_from_somebody_who_is_phoning(night: Night) -> None:
    night.at(11, claim())
    assert night.at(12, assessed(1, dispatch_now=False)) == []
    assert kinds(night.at(13, settle())) == [AlarmSettled]


def test_an_assessment_that_asks_for_dispatch_keeps_the_row_until_desks_are_known(night: Night) -> None:
    assert night.at(1, assessed(1, dispatch_now=True)) == []
    assert raised(night.at(10)) == {POLICE: "unassessed"}


def test_a_second_danger_does_not_restart_the_clocks(night: Night) -> None:
    night.at(8, saved(2))
    assert raised(night.at(10)) == {POLICE: "unassessed"}


def test_danger_after_a_cleared_row_arms_anew(night: Night) -> None:
    night.at(1, assessed(1, dispatch_now=False))
    night.at(60, saved(2))
    assert night.due_in() == 70


def test_desks_that_do_not_accept_ring_twenty_seconds_after_the_danger(called_out: Night) -> None:
    assert called_out.due_in() == 20
    assert raised(called_out.at(20)) == {POLICE: "unaccepted", AMBULANCE: "unaccepted"}


def test_only_the_silent_desk_rings(called_out: Night) -> None:
    assert called_out.at(2, accepted(AMBULANCE)) == [
        DeskConfirmed(**HEADING, at=NIGHT + timedelta(seconds=2), desk=AMBULANCE)
    ]
    assert raised(called_out.at(20)) == {POLICE: "unaccepted"}


def test_a_row_whose_desks_have_all_accepted_is_done(called_out: Night) -> None:
    called_out.at(2, accepted(POLICE), accepted(AMBULANCE))
    assert (called_out.due_in(), called_out.call.alarm.standing, calls.is_alarming(called_out.call)) == (
        None,
        False,
        False,
    )


@pytest.mark.parametrize("report", [CallOutArrived, CallOutCleared])
def test_a_report_from_further_up_the_ladder_confirms_too(called_out: Night, report: type[Report]) -> None:
    code = {"code": "handled"} if report is CallOutCleared else {}
    assert kinds(called_out.at(2, report(**SAID, desk=POLICE, n=1, **code))) == [DeskConfirmed]


def test_delivered_is_not_accepted(called_out: Night) -> None:
    assert called_out.at(2, CallOutDelivered(**SAID, desk=POLICE, n=1)) == []


def test_a_late_acceptance_ends_the_ringing(called_out: Night) -> None:
    called_out.at(20)
    called_out.at(21, accepted(POLICE), accepted(AMBULANCE))
    assert not calls.is_alarming(called_out.call)


def test_a_rejection_confirms_nothing_and_a_new_order_that_is_accepted_does(called_out: Night) -> None:
    assert called_out.at(2, CallOutRejected(**SAID, desk=POLICE, n=1, code="wrong_district")) == []
    called_out.at(20)
    called_out.at(30, ordered(POLICE, n=2))
    assert called_out.phase(POLICE) is Phase.RINGING
    called_out.at(31, accepted(POLICE, n=2))
    assert called_out.phase(POLICE) is Phase.CONFIRMED


def test_a_second_order_after_an_acceptance_is_waited_for_its_full_time(called_out: Night) -> None:
    called_out.at(2, accepted(POLICE), accepted(AMBULANCE))
    assert kinds(called_out.at(600, ordered(POLICE, n=2))) == [RescueAwaited]
    assert called_out.due_in() == 620


def test_a_late_report_on_the_first_order_does_not_silence_the_second(called_out: Night) -> None:
    called_out.at(2, accepted(POLICE))
    called_out.at(3, ordered(POLICE, n=2))
    assert called_out.at(4, CallOutCleared(**SAID, desk=POLICE, n=1, code="not_located")) == []
    assert called_out.phase(POLICE) is Phase.AWAITED


def test_a_desk_of_another_city_is_waited_for_from_its_order(called_out: Night) -> None:
    called_out.at(300, ordered("140100-110"))
    assert raised(called_out.at(320)) == {"140100-110": "unaccepted"}


def test_a_warning_is_not_waited_for(night: Night) -> None:
    assert night.at(1, ordered(AMBULANCE, n=0, purpose=Purpose.WARN)) == []


def test_an_acceptance_that_overtakes_its_order_counts(night: Night) -> None:
    night.at(1, accepted(POLICE))
    [awaited] = night.at(2, opened(POLICE, AMBULANCE), ordered(POLICE), ordered(AMBULANCE))
    assert isinstance(awaited, RescueAwaited)
    assert awaited.desks == (AMBULANCE,)


def test_a_desk_that_we_asked_to_stand_down_is_no_longer_waited_for(called_out: Night) -> None:
    [confirmed] = called_out.at(5, stand_down(POLICE))
    assert isinstance(confirmed, DeskConfirmed)
    assert confirmed.because == "stood_down"
    assert called_out.at(6, CallOutCancelled(**SAID, desk=POLICE, n=1)) == []


@pytest.mark.parametrize("accepts", [True, False])
def test_a_desk_that_cancels_unasked_is_waited_for(called_out: Night, accepts: bool) -> None:
    called_out.at(2, accepted(AMBULANCE), *([accepted(POLICE)] if accepts else []))
    called_out.at(5, CallOutCancelled(**SAID, desk=POLICE, n=1))
    assert raised(called_out.at(25)) == {POLICE: "unaccepted"}


def test_a_desk_stood_down_and_needed_again_is_waited_for(called_out: Night) -> None:
    called_out.at(5, stand_down(POLICE), stand_down(AMBULANCE))
    called_out.at(60, F9, RAISED, ordered(POLICE, n=2))
    assert called_out.due_in() == 80
    assert kinds(called_out.at(61, stand_down(POLICE, n=2))) == [DeskConfirmed]


def test_110_rung_before_any_order_rings_on_when_the_order_comes(night: Night) -> None:
    night.at(10)
    [awaited] = night.at(15, opened(POLICE, AMBULANCE), ordered(POLICE), ordered(AMBULANCE))
    assert isinstance(awaited, RescueAwaited)
    assert (night.phase(POLICE), night.phase(AMBULANCE)) == (Phase.RINGING, Phase.AWAITED)
    night.at(16, accepted(POLICE))
    assert night.phase(POLICE) is Phase.CONFIRMED


def test_110_settled_by_a_person_before_any_order_stays_settled_for_the_first_order_only(night: Night) -> None:
    night.at(12, settle())
    night.at(15, opened(POLICE, AMBULANCE), ordered(POLICE), ordered(AMBULANCE))
    assert night.phase(POLICE) is Phase.SETTLED
    night.at(600, ordered(POLICE, n=2))
    assert night.phase(POLICE) is Phase.AWAITED


def test_who_claims_stops_the_ringing_for_two_minutes(called_out: Night) -> None:
    [claimed] = called_out.at(25, claim())[-1:]
    assert isinstance(claimed, AlarmClaimed)
    assert called_out.at(144) == []
    assert kinds(called_out.at(145)) == [AlarmReleased]
    assert called_out.phase(POLICE) is Phase.RINGING


def test_a_claim_given_back_rings_again(called_out: Night) -> None:
    called_out.at(25, claim())
    [released] = called_out.at(30, release())
    assert isinstance(released, AlarmReleased)
    assert (released.because, called_out.phase(POLICE)) == ("given_back", Phase.RINGING)


def test_a_settled_alarm_is_over_and_keeps_the_desks_numbers(called_out: Night) -> None:
    called_out.at(25, claim())
    called_out.at(60, settle(), accepted(AMBULANCE))
    assert called_out.call.alarm.desks[POLICE].event_no == "B-2"
    assert (called_out.due_in(), calls.is_alarming(called_out.call)) == (None, False)


def test_an_acceptance_ends_a_claim(called_out: Night) -> None:
    called_out.at(25, claim(), accepted(POLICE))
    assert called_out.phase(POLICE) is Phase.CONFIRMED


def test_somebody_who_phoned_before_it_rang_can_settle(called_out: Night) -> None:
    assert kinds(called_out.at(10, settle())) == [AlarmSettled]
    assert raised(called_out.at(20)) == {AMBULANCE: "unaccepted"}


def test_saying_the_same_twice_changes_nothing(called_out: Night) -> None:
    called_out.at(25, claim())
    assert called_out.at(26, claim()) == []
    called_out.at(27, settle())
    assert called_out.at(28, settle()) == []


@pytest.mark.parametrize(
    ("second", "before", "command", "code"),
    [
        (5, [], claim("140100-110"), "desk_not_awaited"),
        (5, [], claim(), "alarm_not_ringing"),
        (25, [claim(by="2001")], claim(), "alarm_claimed"),
        (25, [], release(), "alarm_not_claimed"),
        (25, [claim(by="2001")], release(), "alarm_not_claimed"),
        (25, [settle()], settle(event_no="B-3"), "desk_has_it"),
        (25, [accepted(POLICE)], settle(), "desk_has_it"),
    ],
)
def test_what_a_person_may_not_do(
    called_out: Night, second: float, before: list[Message], command: Message, code: str
) -> None:
    called_out.at(second, *before)
    with pytest.raises(Rejected) as refusal:
        called_out.at(second, command)
    assert refusal.value.code == code


def test_an_alarm_of_a_call_that_nobody_knows_is_not_found() -> None:
    with pytest.raises(Rejected) as refusal:
        Night().at(0, claim())
    assert (refusal.value.code, refusal.value.status) == ("call_unknown", 404)


def test_an_escalation_on_a_finished_row_must_be_heard_too(called_out: Night) -> None:
    called_out.at(2, accepted(POLICE), accepted(AMBULANCE))
    called_out.at(100, F9)
    assert raised(called_out.at(110)) == {POLICE: "unordered"}


def test_an_escalation_that_joins_what_is_under_way_is_heard(called_out: Night) -> None:
    called_out.at(2, accepted(POLICE), accepted(AMBULANCE))
    [awaited] = called_out.at(100, F9, RAISED)[-1:]
    assert isinstance(awaited, RescueAwaited)
    assert (awaited.desks, called_out.due_in()) == ((), None)


def test_danger_again_on_a_finished_row_is_closed_by_its_assessment_and_the_desks_stay_confirmed(
    called_out: Night,
) -> None:
    called_out.at(2, accepted(POLICE), accepted(AMBULANCE))
    called_out.at(100, saved(2))
    assert kinds(called_out.at(101, assessed(2, dispatch_now=False))) == [WatchCleared]
    assert called_out.phase(POLICE) is Phase.CONFIRMED


def test_an_incident_that_others_started_is_watched_too() -> None:
    night = Night()
    night.at(0, opened(POLICE), ordered(POLICE))
    assert raised(night.at(20)) == {POLICE: "unaccepted"}
    assert kinds(night.at(25, claim())) == [AlarmClaimed]
