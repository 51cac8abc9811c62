"""One desk asked to act: tried until it has the order, held while a person phones, and never two cars for one key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.responder_adapter.callout import (
    AttemptAnswered,
    AttemptFailed,
    CancelAnswered,
    ClaimTask,
    ReportRung,
    call_task,
    deadline,
    decide,
)
from services.responder_adapter.disclosure import PROFILES, minimum_brief
from services.responder_adapter.recovery import RecoverCallOut
from services.responder_adapter.retry_schedule import PRESUMED_DEAD, wait_before
from services.responder_adapter.service import machine
from services.responder_adapter.state import CallOut, evolve
from services.responder_adapter.status import ALLOWED, CallOutStatus
from shared.contract.callouts import (
    REPORTS,
    CallOutAccepted,
    CallOutDelivered,
    CallOutEvent,
    CallOutHeld,
    CallOutRejected,
    CallOutReleased,
    CallOutRetried,
    CallOutTaken,
    CallOutUnreachable,
    Report,
    ReportDisputed,
)
from shared.contract.calls import AlarmClaimed, AlarmReleased, AlarmSettled
from shared.contract.city import Cities, DeskEntry, WebhookWire
from shared.contract.event import DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, Purpose
from shared.contract.terms import ENDED, LADDER, Brief, Rung, Situation, Tier, callout_key
from shared.kernel.machine.machine import Address
from tests.support.a_city import a_city

CASE = UUID("0197a000-0000-7000-8000-000000000001")
LINE = "140700"
TEN = datetime(2026, 3, 1, 22, tzinfo=UTC)
WIRED, PHONED, ELSEWHERE = "140700-110", "140700-120", "510100-110"
WIRE = WebhookWire.model_validate({"kind": "webhook", "url": "http://127.0.0.1:9/callouts", "secret_env": "SECRET"})
CITIES = Cities(
    [
        a_city(
            desks={
                WIRED: DeskEntry(name="110", name_en="110", number="110", wire=WIRE),
                PHONED: DeskEntry(name="120", name_en="120", number="120", medical=True),
            }
        )
    ]
)


@dataclass
class History:
    """One call-out's life, told message by message on a clock of its own."""

    desk: str = WIRED
    n: int = 1
    now: datetime = TEN
    state: CallOut = field(default_factory=CallOut)
    events: list[Event] = field(default_factory=list)
    cities: Cities = field(default_factory=lambda: CITIES)

    @property
    def which(self) -> dict[str, object]:
        return {"case": CASE, "city": LINE, "desk": self.desk, "n": self.n}

    def learns(self, *messages: Message) -> tuple[Event, ...]:
        """What the last of these messages made it say."""
        said: tuple[Event, ...] = ()
        for message in messages:
            said = decide(self.cities, self.state, message, self.now)
            self.state = reduce(evolve, said, self.state)
            self.events.extend(said)
        return said

    def waits(self) -> tuple[Event, ...]:
        """Time passes until the next deadline."""
        due = deadline(self.cities, self.state)
        assert due is not None
        self.now = max(self.now, due)
        key = callout_key(CASE, self.desk, self.n)
        return self.learns(DeadlinePassed(case=CASE, city=LINE, instance=key, home=LINE, due=due))

    def later(self, seconds: float) -> "History":
        self.now += timedelta(seconds=seconds)
        return self

    def order(self, purpose: Purpose = Purpose.ACT) -> CallOutOrdered:
        return CallOutOrdered(
            **self.which,
            at=self.now,
            purpose=purpose,
            tier=Tier.IMMINENT,
            reasons=("acute-criteria/1:in_progress",),
            situation=Situation(counsellor="seat-1"),
            accept_by=self.now + timedelta(seconds=15),
            number="028110" if self.desk == ELSEWHERE else None,
        )

    def cancel(self) -> CallOutCancelRequested:
        return CallOutCancelRequested(**self.which, at=self.now, reason="stood_down", by="seat-1")

    def claimed(self, by: str = "seat-2") -> AlarmClaimed:
        return AlarmClaimed(**self.which, at=self.now, by=by)

    def released(self) -> AlarmReleased:
        return AlarmReleased(**self.which, at=self.now, because="given_back")

    def settled(self, event_no: str = "E-1") -> AlarmSettled:
        return AlarmSettled(**self.which, at=self.now, by="seat-2", officer="041207", event_no=event_no)

    def recover(self) -> RecoverCallOut:
        return RecoverCallOut(**self.which, epoch=1_770_000_000)

    def failed(self, reason: str = "timeout", token: int | None = None) -> AttemptFailed:
        return AttemptFailed(**self.which, token=token or self.state.token, reason=reason)

    def answered(self, rung: Rung = Rung.DELIVERED, *, token: int | None = None, **more: str) -> AttemptAnswered:
        return AttemptAnswered(**self.which, token=token or self.state.token, rung=rung, **more)

    def cancel_answered(self, rung: Rung, **more: str) -> CancelAnswered:
        return CancelAnswered(**self.which, token=self.state.token, rung=rung, **more)

    def report(self, rung: Rung, **more: str) -> ReportRung:
        return ReportRung(**self.which, rung=rung, **more)

    def accept(self, event_no: str = "E-1", **more: str) -> ReportRung:
        return self.report(Rung.ACCEPTED, officer="041207", event_no=event_no, **more)

    def claim(self, by: str = "seat-2") -> ClaimTask:
        return ClaimTask(**self.which, by=by)


def names(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def ordered(desk: str = WIRED) -> History:
    history = History(desk)
    history.learns(history.order())
    return history


# --- the order and its attempts ---


def test_an_order_to_a_wired_desk_is_taken_and_that_is_the_start_of_its_first_attempt() -> None:
    history = History()
    [taken] = history.learns(history.order())
    assert isinstance(taken, CallOutTaken)
    assert (taken.wire, taken.token, taken.accept_by) == ("webhook", 1, TEN + timedelta(seconds=15))
    assert history.state.sends(1)


def test_the_same_order_again_is_no_second_order() -> None:
    history = ordered()
    assert history.learns(history.order()) == ()


@pytest.mark.parametrize("desk", [PHONED, ELSEWHERE])
def test_a_desk_by_phone_or_without_a_pack_becomes_a_call_task_at_once(desk: str) -> None:
    history = ordered(desk)
    assert (history.state.wire, call_task(history.state), history.state.sends(0)) == ("phone", True, False)
    assert deadline(CITIES, history.state) is None


def test_a_warning_is_said_by_phone_whatever_wire_the_desk_has() -> None:
    history = History(n=0)
    history.learns(history.order(Purpose.WARN))
    assert call_task(history.state)


def test_an_attempt_that_came_too_late_to_leave_is_made_anew_at_once_and_costs_the_desk_no_wait() -> None:
    history = ordered()
    for token in range(1, 6):
        assert names(history.learns(history.failed("late"))) == ["CallOutFailed", "CallOutRetried"]
        assert (history.state.attempt, history.state.token) == (1, token + 1)
    history.learns(history.failed("refused"))
    assert history.state.next_at == history.now + wait_before(2, history.state.key)
    assert not history.state.perhaps


def test_an_attempt_that_came_too_late_to_leave_is_not_made_anew_while_a_person_phones() -> None:
    history = ordered()
    history.learns(history.claimed())
    assert names(history.learns(history.failed("late"))) == ["CallOutFailed"]
    assert names(history.learns(history.released())) == ["CallOutReleased"]
    assert "CallOutRetried" in names(history.waits())


def test_attempts_come_after_1_2_4_8_and_then_every_10_seconds_give_or_take_a_fifth() -> None:
    history = ordered()
    waits = []
    for _ in range(6):
        history.learns(history.failed())
        before = history.now
        while "CallOutRetried" not in names(history.waits()):
            pass
        waits.append((history.now - before).total_seconds())
    for waited, meant in zip(waits, (1, 2, 4, 8, 10, 10), strict=True):
        assert 0.8 * meant <= waited <= 1.2 * meant


def test_waits_differ_between_call_outs_and_never_between_two_looks() -> None:
    keys = [callout_key(UUID(int=number), WIRED, 1) for number in range(50)]
    assert len({wait_before(3, key) for key in keys}) > 40
    assert [wait_before(3, key) for key in keys] == [wait_before(3, key) for key in keys]


def test_d5_a_desk_that_is_dead_for_days_is_tried_each_five_minutes_after_the_first_hour() -> None:
    waits = [wait_before(attempt, "case/140700-110/1").total_seconds() for attempt in range(1, 800)]
    assert 3000 < sum(waits[:360]) < 4200
    assert all(8 <= wait <= 12 for wait in waits[5:360])
    assert all(240 <= wait <= 360 for wait in waits[400:])


def test_a_retry_has_the_next_attempt_and_a_higher_token() -> None:
    history = ordered()
    history.learns(history.failed())
    [retried] = history.waits()
    assert isinstance(retried, CallOutRetried)
    assert (retried.attempt, retried.token) == (2, 2)


def test_an_attempt_without_any_outcome_is_presumed_dead_after_5_seconds() -> None:
    history = ordered()
    events = history.waits()
    assert names(events) == ["CallOutFailed", "CallOutRetried"]
    assert history.now == TEN + PRESUMED_DEAD


def test_the_failure_of_an_older_attempt_is_not_news() -> None:
    history = ordered()
    history.waits()
    assert history.learns(history.failed(token=1)) == ()


def test_the_yes_of_an_older_attempt_counts() -> None:
    history = ordered()
    history.waits()
    [delivered] = history.learns(history.answered(token=1))
    assert isinstance(delivered, CallOutDelivered)
    assert deadline(CITIES, history.state) is None


def test_an_attempt_is_fenced_off_by_what_came_after_it_and_never_by_what_was_before() -> None:
    history = ordered()
    first = history.state
    history.waits()
    second = history.state
    assert (second.forbids(1), second.forbids(2), first.forbids(2)) == (True, False, False)
    history.learns(history.claimed())
    assert history.state.forbids(2)


def test_after_delivery_nothing_more_is_sent_and_silence_is_the_alarms_matter() -> None:
    history = ordered()
    history.learns(history.answered())
    assert (deadline(CITIES, history.state), history.learns(history.failed())) == (None, ())


def test_an_answer_may_accept_or_reject_at_once() -> None:
    accepted, rejected = ordered(), ordered()
    [yes] = accepted.learns(accepted.answered(Rung.ACCEPTED, event_no="E-1", officer="041207"))
    [no] = rejected.learns(rejected.answered(Rung.REJECTED, code="no_unit"))
    assert isinstance(yes, CallOutAccepted)
    assert isinstance(no, CallOutRejected)
    assert (accepted.state.status, rejected.state.status) == (CallOutStatus.AT_DESK, CallOutStatus.ENDED)


def test_unreachable_is_said_once_after_10_seconds_and_sending_goes_on() -> None:
    history = ordered()
    while history.now < TEN + timedelta(seconds=60):
        history.learns(history.failed("refused"))
        history.waits()
    [unreachable] = [event for event in history.events if isinstance(event, CallOutUnreachable)]
    assert (unreachable.at, unreachable.reason) == (TEN + timedelta(seconds=10), "refused")
    assert isinstance(history.events[-1], CallOutRetried)


# --- people who phone ---


def test_no_attempt_starts_while_a_person_phones() -> None:
    history = ordered()
    history.learns(history.failed())
    [held] = history.learns(history.claimed())
    assert isinstance(held, CallOutHeld)
    assert deadline(CITIES, history.state) == TEN + timedelta(seconds=150)


def test_the_outcome_of_an_attempt_under_way_still_counts_while_held() -> None:
    failing, answered = ordered(), ordered()
    failing.learns(failing.claimed())
    answered.learns(answered.claimed())
    assert names(failing.learns(failing.failed())) == ["CallOutFailed"]
    assert names(answered.learns(answered.answered())) == ["CallOutDelivered"]
    assert (failing.state.status, answered.state.status) == (CallOutStatus.HELD, CallOutStatus.AT_DESK)


def test_a_release_lets_the_machine_go_on_at_once() -> None:
    history = ordered()
    history.learns(history.failed(), history.claimed())
    assert names(history.later(30).learns(history.released())) == ["CallOutReleased"]
    assert deadline(CITIES, history.state) is not None
    assert "CallOutRetried" in names(history.waits())
    assert history.now == TEN + timedelta(seconds=30)


def test_a_hold_that_nobody_ends_ends_itself() -> None:
    history = ordered()
    history.learns(history.failed(), history.claimed())
    [released] = history.waits()
    assert isinstance(released, CallOutReleased)
    assert (released.because, history.now) == ("hold_lapsed", TEN + timedelta(seconds=150))


def test_a_claim_by_the_next_person_starts_the_hold_anew_and_by_the_same_does_not() -> None:
    history = ordered()
    history.learns(history.claimed("seat-2"))
    assert history.later(60).learns(history.claimed("seat-2")) == ()
    assert names(history.learns(history.claimed("on-call"))) == ["CallOutHeld"]


def test_what_a_person_settled_by_phone_is_an_acceptance_and_ends_the_sending() -> None:
    history = ordered()
    history.learns(history.failed(), history.claimed())
    [accepted] = history.learns(history.settled())
    assert isinstance(accepted, CallOutAccepted)
    assert (accepted.by, accepted.officer, accepted.event_no) == ("seat-2", "041207", "E-1")
    assert deadline(CITIES, history.state) is None


def test_the_machine_that_accepted_first_stays_and_the_persons_other_number_is_kept_as_a_dispute() -> None:
    history = ordered()
    history.learns(history.answered(Rung.ACCEPTED, event_no="E-1"))
    [disputed] = history.learns(history.settled("E-2"))
    assert isinstance(disputed, ReportDisputed)
    assert (history.state.event_no, disputed.event_no, disputed.by) == ("E-1", "E-2", "seat-2")


def test_an_order_heard_after_a_person_has_settled_it_sends_no_second_car() -> None:
    history = History()
    assert names(history.learns(history.settled())) == ["CallOutAccepted"]
    [taken] = history.later(60).learns(history.order())
    assert isinstance(taken, CallOutTaken)
    assert (taken.wire, taken.token) == ("phone", 0)
    assert (history.state.status, deadline(CITIES, history.state)) == (CallOutStatus.AT_DESK, None)
    assert not call_task(history.state)


def test_an_order_heard_while_a_person_already_phones_waits_for_them() -> None:
    history = History()
    history.learns(history.claimed(), history.order())
    assert (history.state.token, history.state.status) == (0, CallOutStatus.HELD)
    history.learns(history.released())
    [retried] = history.waits()
    assert isinstance(retried, CallOutRetried)
    assert (retried.attempt, retried.token) == (1, 1)


def test_an_order_heard_after_such_a_call_led_nowhere_is_sent() -> None:
    history = History()
    history.learns(history.claimed(), history.released(), history.order())
    assert history.state.sends(1)


# --- call tasks ---


def test_a_claimed_task_is_settled_with_officer_and_event_number() -> None:
    history = ordered(PHONED)
    history.learns(history.claim())
    assert call_task(history.state)
    history.learns(history.accept(by="seat-2"))
    assert (history.state.rung, history.state.held_by, call_task(history.state)) == (Rung.ACCEPTED, None, False)


def test_a_task_has_one_claimer_and_it_lapses() -> None:
    history = ordered(PHONED)
    history.learns(history.claim("seat-2"))
    assert history.learns(history.claim("seat-2")) == ()
    with pytest.raises(Rejected, match="claimed_by_another"):
        history.learns(history.claim("on-call"))
    [released] = history.waits()
    assert (names([released]), history.now) == (["CallOutReleased"], TEN + timedelta(seconds=120))
    assert call_task(history.state)


def test_there_is_no_task_to_claim_where_a_wire_carries_the_order() -> None:
    history = ordered()
    with pytest.raises(Rejected, match="no_call_task"):
        history.learns(history.claim())


def test_later_rungs_are_taken_down_by_phone_too_but_not_before_acceptance() -> None:
    history = ordered(PHONED)
    with pytest.raises(Rejected, match="not_accepted_yet"):
        history.learns(history.report(Rung.EN_ROUTE, by="seat-2"))
    history.learns(history.accept(by="seat-2"))
    assert names(history.learns(history.report(Rung.EN_ROUTE, by="seat-2"))) == ["CallOutEnRoute"]


def test_a_warning_is_settled_with_the_officer_alone() -> None:
    history = History(PHONED, n=0)
    history.learns(history.order(Purpose.WARN))
    [accepted] = history.learns(history.report(Rung.ACCEPTED, officer="041207", by="seat-2"))
    assert isinstance(accepted, CallOutAccepted)
    assert accepted.event_no == "-"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"rung": Rung.REQUESTED}, "not_a_report"),
        ({"rung": Rung.DELIVERED}, "not_by_phone"),
        ({"rung": Rung.SHOWN}, "not_by_phone"),
        ({"rung": Rung.ACCEPTED, "officer": "041207"}, "event_no_missing"),
        ({"rung": Rung.ACCEPTED, "event_no": "E-1"}, "officer_missing"),
        ({"rung": Rung.REJECTED}, "code_missing"),
        ({"rung": Rung.CLEARED}, "code_missing"),
    ],
)
def test_a_report_that_lacks_what_makes_it_one_is_refused_by_name(given: dict[str, str], code: str) -> None:
    history = ordered(PHONED)
    with pytest.raises(Rejected, match=code) as refusal:
        history.learns(ReportRung.model_validate({**history.which, **given, "by": "seat-2"}))
    assert (refusal.value.status, refusal.value.code) == (422, code)


def test_a_desks_own_system_may_accept_without_naming_an_officer() -> None:
    history = ordered()
    assert names(history.learns(history.report(Rung.ACCEPTED, event_no="E-1"))) == ["CallOutAccepted"]


# --- the ladder ---


def test_every_rung_is_said_with_its_own_event() -> None:
    for rung, kind in REPORTS.items():
        history = ordered()
        more = {"event_no": "E-1"} if rung is Rung.ACCEPTED else {}
        more |= {"code": "assisted"} if rung in {Rung.REJECTED, Rung.CLEARED} else {}
        [said] = history.learns(history.report(rung, **more))
        assert type(said) is kind


def test_a_late_or_repeated_report_moves_nothing() -> None:
    history = ordered()
    history.learns(history.accept(), history.report(Rung.ARRIVED))
    for again in (history.accept(), history.report(Rung.ARRIVED), history.report(Rung.EN_ROUTE), history.answered()):
        assert history.learns(again) == ()
    assert history.state.rung is Rung.ARRIVED


def test_an_acceptance_that_comes_late_still_brings_the_event_number() -> None:
    history = ordered()
    history.learns(history.report(Rung.EN_ROUTE), history.accept())
    assert (history.state.rung, history.state.event_no) == (Rung.EN_ROUTE, "E-1")


def test_a_second_acceptance_under_another_number_is_kept_and_moves_nothing() -> None:
    history = ordered()
    history.learns(history.accept("E-1"))
    assert names(history.learns(history.accept("E-2"))) == ["ReportDisputed"]
    assert history.learns(history.accept("E-2")) == ()
    assert (history.state.event_no, len(history.state.disputes)) == ("E-1", 1)


def test_a_rejection_after_acceptance_is_kept_and_moves_nothing() -> None:
    history = ordered()
    history.learns(history.accept())
    [disputed] = history.learns(history.report(Rung.REJECTED, code="duplicate"))
    assert isinstance(disputed, ReportDisputed)
    assert (disputed.rung_said, disputed.code, history.state.rung) == (Rung.REJECTED, "duplicate", Rung.ACCEPTED)


def test_found_and_not_found_contradict_each_other() -> None:
    history = ordered()
    history.learns(history.accept(), history.report(Rung.NOT_FOUND))
    assert names(history.learns(history.report(Rung.CONTACT))) == ["ReportDisputed"]


def test_nothing_moves_after_an_end() -> None:
    history = ordered()
    history.learns(history.report(Rung.REJECTED, code="no_unit"))
    assert history.learns(history.report(Rung.REJECTED, code="no_unit")) == ()
    for other in (history.accept(), history.report(Rung.REJECTED, code="duplicate"), history.report(Rung.ARRIVED)):
        assert names(history.learns(other)) == ["ReportDisputed"]
    assert (history.state.rung, history.state.code) == (Rung.REJECTED, "no_unit")


def test_a_desk_gone_wrong_cannot_make_the_record_grow_without_end() -> None:
    history = ordered()
    history.learns(history.accept("E-0"), *(history.accept(f"E-{number}") for number in range(1, 100)))
    assert len(history.state.disputes) == 20


# --- standing down ---


def test_what_no_desk_can_have_got_is_cancelled_at_once() -> None:
    history = ordered()
    history.learns(history.failed("refused"))
    assert names(history.learns(history.cancel())) == ["CallOutCancelAsked", "CallOutCancelled"]
    assert deadline(CITIES, history.state) is None


@pytest.mark.parametrize("reason", ["timeout", "reset", "cut", "bad_answer", "http_500"])
def test_what_a_desk_may_have_got_is_cancelled_with_the_desk(reason: str) -> None:
    history = ordered()
    history.learns(history.failed(reason))
    assert names(history.learns(history.cancel())) == ["CallOutCancelAsked"]
    assert history.state.sends(2)


def test_a_delivered_order_is_cancelled_by_its_wire_and_tried_until_the_desk_has_the_wish() -> None:
    history = ordered()
    history.learns(history.answered(), history.cancel())
    history.learns(history.failed())
    [retried] = history.waits()
    assert isinstance(retried, CallOutRetried)
    assert (retried.attempt, retried.token) == (2, 3)
    assert names(history.learns(history.cancel_answered(Rung.DELIVERED))) == ["CallOutCancelDelivered"]
    assert (history.state.status, deadline(CITIES, history.state)) == (CallOutStatus.STANDING_DOWN, None)


def test_the_desk_decides_whether_it_still_can_stand_down() -> None:
    agrees, refuses = ordered(), ordered()
    for history in (agrees, refuses):
        history.learns(history.accept(), history.cancel())
    assert names(agrees.learns(agrees.cancel_answered(Rung.CANCELLED))) == ["CallOutCancelled"]
    said = refuses.learns(refuses.cancel_answered(Rung.REJECTED, code="on_scene"))
    assert names(said) == ["ReportDisputed", "CallOutCancelDelivered"]
    assert (agrees.state.status, refuses.state.rung) == (CallOutStatus.ENDED, Rung.ACCEPTED)


def test_a_desk_asked_to_stand_down_may_still_arrive() -> None:
    history = ordered()
    history.learns(history.accept(), history.cancel(), history.report(Rung.ARRIVED))
    assert (history.state.rung, history.state.status) == (Rung.ARRIVED, CallOutStatus.STANDING_DOWN)


def test_what_was_told_by_phone_is_cancelled_by_phone() -> None:
    history = ordered(PHONED)
    history.learns(history.accept(by="seat-2"), history.cancel())
    assert call_task(history.state)
    history.learns(history.claim("on-call"), history.report(Rung.CANCELLED, by="on-call"))
    assert (history.state.status, call_task(history.state)) == (CallOutStatus.ENDED, False)


def test_a_desk_told_by_phone_that_goes_on_all_the_same_leaves_no_call_to_make() -> None:
    history = ordered(PHONED)
    history.learns(history.accept(by="seat-2"), history.cancel())
    said = history.learns(history.report(Rung.ARRIVED, by="seat-2"))
    assert names(said) == ["CallOutArrived", "CallOutCancelDelivered"]
    assert not call_task(history.state)


def test_a_call_task_that_nobody_took_is_simply_withdrawn() -> None:
    history = ordered(PHONED)
    assert names(history.learns(history.cancel())) == ["CallOutCancelAsked", "CallOutCancelled"]
    assert not call_task(history.state)


def test_a_cancellation_heard_before_its_order_keeps_the_order_from_being_sent() -> None:
    history = History()
    history.learns(history.cancel())
    assert history.learns(history.order()) == ()


def test_a_late_order_answered_by_its_own_cancellation_is_no_contradiction() -> None:
    history = ordered()
    history.learns(history.cancel(), history.cancel_answered(Rung.CANCELLED))
    assert history.learns(history.answered(Rung.REJECTED, token=1, code="cancelled")) == ()


# --- where it is kept, and what a desk may know ---


def test_a_call_out_lives_with_its_desks_city_or_with_the_line_where_that_city_has_no_pack() -> None:
    address = machine(CITIES).address
    assert address(History(WIRED).order()) == Address(f"{CASE}/{WIRED}/1", LINE)
    assert address(History(ELSEWHERE).claimed()) == Address(f"{CASE}/{ELSEWHERE}/1", LINE)


def test_nobody_can_report_or_claim_what_was_never_asked() -> None:
    history = History()
    for command in (history.accept(), history.claim()):
        with pytest.raises(Rejected, match="unknown_callout"):
            history.learns(command)
    assert history.learns(history.answered(token=1)) == ()


def test_a_deadline_before_anything_was_heard_is_nothing() -> None:
    due = DeadlinePassed(case=CASE, city=LINE, instance=f"{CASE}/{WIRED}/1", home=LINE, due=TEN)
    assert decide(CITIES, CallOut(), due, TEN) == ()


def test_each_kind_of_desk_gets_its_own_fields_and_never_the_others() -> None:
    everything = Brief.model_validate(dict.fromkeys(Brief.model_fields, "x"))
    police, medical = minimum_brief(everything, medical=False), minimum_brief(everything, medical=True)
    assert {"weapon", "means", "hazards", "approach"} <= police.keys() - medical.keys()
    assert {"substance", "dose", "state"} <= medical.keys() - police.keys()
    assert {field for profile in PROFILES.values() for field in profile} <= set(Brief.model_fields)


# --- every history ---

RUNGS = st.sampled_from(sorted(REPORTS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["order", "cancel", "claimed", "released", "settled", "wait", "claim", "recover"])),
        st.tuples(
            st.just("failed"), st.sampled_from(["refused", "timeout", "late", "not_received"]), st.integers(0, 2)
        ),
        st.tuples(st.just("answered"), st.sampled_from(["delivered", "accepted", "rejected"]), st.integers(0, 2)),
        st.tuples(st.just("cancel_answered"), st.sampled_from(["delivered", "cancelled", "rejected"])),
        st.tuples(st.just("report"), RUNGS, st.sampled_from([None, "seat-1"]), st.sampled_from(["E-1", "E-2"])),
        st.tuples(st.just("later"), st.integers(0, 200)),
    ),
    max_size=25,
)


def played(history: History, *step: object) -> None:
    """One step of a random history; refusals change nothing, and nothing else may go wrong."""
    token = max(1, history.state.token - step[2]) if len(step) == 3 and isinstance(step[2], int) else None
    code = {"code": "no_unit", "officer": "041207", "event_no": "E-1"}
    match step:
        case ("later", int(seconds)):
            history.later(seconds)
        case ("wait",):
            if deadline(CITIES, history.state) is not None:
                history.waits()
        case ("failed", str(reason), _):
            history.learns(history.failed(reason, token))
        case ("answered", str(rung), _):
            history.learns(history.answered(Rung(rung), token=token, **code))
        case ("cancel_answered", str(rung)):
            history.learns(history.cancel_answered(Rung(rung), code="no_unit"))
        case ("report", str(rung), by, str(event_no)):
            report = history.report(Rung(rung), **(code | {"event_no": event_no}))
            history.learns(report.model_copy(update={"by": by}))
        case (str(name),):
            history.learns(getattr(history, name)())


def told(desk: str, steps: list[tuple[object, ...]]) -> History:
    history = History(desk)
    for step in steps:
        try:
            played(history, *step)
        except Rejected:
            continue
    return history


histories = st.builds(told, st.sampled_from([WIRED, PHONED, ELSEWHERE]), STEPS)


@settings(max_examples=500, deadline=None)
@given(histories)
def test_no_history_leaves_the_table_and_the_state_is_the_fold_of_its_own_events(history: History) -> None:
    assert reduce(evolve, history.events, CallOut()) == history.state
    assert all(type(event) in {kind for row in ALLOWED.values() for kind in row} for event in history.events)


@settings(max_examples=500, deadline=None)
@given(histories)
def test_no_two_attempts_share_a_token_and_tokens_only_rise(history: History) -> None:
    state, tokens = CallOut(), [0]
    for event in history.events:
        before, state = state, evolve(state, event)
        if state.token != before.token:
            tokens.append(state.token)
    assert tokens == sorted(set(tokens))


@settings(max_examples=500, deadline=None)
@given(histories)
def test_no_order_leaves_once_a_desk_has_said_yes_or_no_or_while_a_person_phones(history: History) -> None:
    state = CallOut()
    for event in history.events:
        starts = isinstance(event, CallOutRetried) or (isinstance(event, CallOutTaken) and event.token > 0)
        if starts and state.status is not CallOutStatus.STANDING_DOWN:
            assert state.rung is Rung.REQUESTED
            assert state.held_by is None
        state = evolve(state, event)


@settings(max_examples=500, deadline=None)
@given(histories)
def test_a_ladder_never_moves_back_and_never_after_its_end(history: History) -> None:
    state = CallOut()
    for event in history.events:
        after = evolve(state, event)
        assert LADDER[after.rung] >= LADDER[state.rung]
        assert state.rung not in ENDED or after.rung is state.rung
        state = after


@settings(max_examples=500, deadline=None)
@given(histories)
def test_every_deadline_that_passes_moves_the_machine_and_soon_lies_ahead(history: History) -> None:
    before = after = deadline(CITIES, history.state)
    for _ in range(3):  # one that passed while a person held the call-out passes once it is released
        if after is not None:
            assert history.waits() != ()
            after = deadline(CITIES, history.state)
    assert before is None or after is None or after >= before


@settings(max_examples=500, deadline=None)
@given(histories)
def test_a_call_out_that_no_desk_has_and_nobody_withdrew_is_always_somebodys_next_move(history: History) -> None:
    state = history.state
    if state.wire is not None and state.rung is Rung.REQUESTED:
        assert deadline(CITIES, state) is not None or call_task(state) or state.cancel_delivered


def test_every_event_of_a_call_out_has_its_place_in_the_table() -> None:
    in_table = {kind for row in ALLOWED.values() for kind in row}
    own = {kind for kind in CallOutEvent.__subclasses__() if kind is not Report}
    assert in_table == own | set(REPORTS.values())
