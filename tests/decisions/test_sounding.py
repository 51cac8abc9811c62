"""外呼: when people outside are told to phone, how many of them, and what makes it stop."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.hotline_intake import call as calls
from services.hotline_intake.alarm.decide import ClaimAlarm, ConfirmRing, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import Call, Escalate, OpenCall
from shared.contract.callouts import CallOutAccepted
from shared.contract.calls import AlarmPassedOn, AlarmRaised, AlarmReleased, AlarmSounded, DeskConfirmed
from shared.contract.city import Cities, City, Clocks, OnCall
from shared.contract.event import DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import CallOutOrdered, IncidentOpened, Purpose
from shared.contract.terms import Situation, Tier
from shared.kernel.clock import unix_milliseconds
from tests.support.a_city import a_city

CASE = UUID("0197a000-0000-7000-8000-000000000001")
CITY = "140700"
POLICE, AMBULANCE = "140700-110", "140700-120"
NIGHT = datetime(2026, 3, 1, 14, tzinfo=UTC)
HEADING = {"case": CASE, "city": CITY}
WHY = {"tier": Tier.HIGH, "reasons": ("r",), "situation": Situation()}


def person(name: str) -> OnCall:
    return OnCall(name=name, number="-", channels=(f"CHANNEL_{name}",))


def jinzhong(people: int, clocks: Clocks | None = None) -> City:
    first, *others = [person("a"), person("b"), person("c")][:people] or [OnCall(name="a", number="-")]
    chain: dict[str, Any] = {"on_call": first, "next_on_call": tuple(others)}
    return a_city(desks={}, clocks=clocks or Clocks(), **chain)


@dataclass
class Night:
    """One F9 at second 0 for 110 and 120, ordered at second 1. `taken`: the channels take what they are given."""

    city: City = field(default_factory=lambda: jinzhong(3))
    taken: bool = True
    call: Call = field(default_factory=Call)
    rings: list[tuple[float, int]] = field(default_factory=list)
    said: list[Event] = field(default_factory=list)
    now: datetime = NIGHT
    passed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.at(0, OpenCall(**HEADING, counsellor="1"), Escalate(**HEADING, by="1", desks=("110", "120")))

    def ordered(self) -> "Night":
        told = {"at": NIGHT, "purpose": Purpose.ACT, "accept_by": NIGHT}
        orders = [CallOutOrdered(**HEADING, **WHY, **told, desk=desk, n=1) for desk in (POLICE, AMBULANCE)]
        self.at(1, IncidentOpened(**HEADING, **WHY, at=NIGHT, desks=(POLICE, AMBULANCE)), *orders)
        return self

    def at(self, seconds: float, *messages: Message) -> list[tuple[float, int]]:
        """Every ring outside up to then, as (second, persons told); deadlines pass on the way to what is learnt."""
        now = NIGHT + timedelta(seconds=seconds)
        while (due := self.due()) and due <= now:
            woken = max(self.now, due)
            self.learn(DeadlinePassed(**HEADING, instance=str(CASE), home=CITY, due=due), woken)
            assert unix_milliseconds(due) not in self.passed, "no deadline passes twice"
            self.passed.add(unix_milliseconds(due))
        for message in messages:
            self.learn(message, now)
        return self.rings

    def due(self) -> datetime | None:
        return calls.deadline(Cities([self.city]), self.call)

    def learn(self, message: Message, now: datetime) -> None:
        self.now = now
        events = calls.decide(Cities([self.city]), self.call, message, now)
        self.call = reduce(calls.evolve, events, self.call)
        self.said.extend(events)
        for event in events:
            if isinstance(event, AlarmSounded):
                self.rings.append(((now - NIGHT).total_seconds(), event.persons))
                if self.taken:
                    self.learn(ConfirmRing(**HEADING, ring=event.ring), now)


def accepted(desk: str) -> CallOutAccepted:
    return CallOutAccepted(**HEADING, at=NIGHT, desk=desk, n=1, officer="1", event_no="A-1")


def claim(desk: str = POLICE) -> ClaimAlarm:
    return ClaimAlarm(**HEADING, desk=desk, by="2001")


def settle(desk: str) -> SettleAlarm:
    return SettleAlarm(**HEADING, desk=desk, by="2001", officer="1", event_no="B-1")


def release(desk: str = POLICE) -> ReleaseAlarm:
    return ReleaseAlarm(**HEADING, desk=desk, by="2001")


def of(night: Night, kind: type[Event]) -> list[float]:
    return [(event.at - NIGHT).total_seconds() for event in night.said if type(event) is kind]


def test_a_silent_desk_is_told_outside_at_25_seconds_each_30_seconds_and_to_one_more_person_each_minute() -> None:
    night = Night().ordered()
    assert night.at(175) == [(25, 1), (55, 1), (80, 2), (110, 2), (140, 3), (170, 3)]
    assert of(night, AlarmRaised) == [20]


def test_everybody_being_told_they_are_rung_on_for_hours_and_nothing_grows() -> None:
    night = Night().ordered()
    night.at(600)
    kept = TypeAdapter(Call)
    size = len(kept.dump_json(night.call))
    assert night.at(10 * 3600)[-2:] == [(35960, 3), (35990, 3)]
    assert len(kept.dump_json(night.call)) <= size + 4


def test_an_alarm_that_rings_early_is_told_outside_5_seconds_later_and_keeps_its_clocks() -> None:
    assert Night().at(80) == [(15, 1), (45, 1), (70, 2)]


def test_a_pack_without_any_channel_rings_on_the_screens_alone() -> None:
    night = Night(jinzhong(0)).ordered()
    assert (night.at(3600), night.due(), night.call.alarm.alarming) == ([], None, True)


def test_a_ring_that_no_channel_took_is_repeated_after_5_seconds_to_the_next_person_too() -> None:
    night = Night(taken=False).ordered()
    assert night.at(40) == [(25, 1), (30, 2), (35, 3), (40, 3)]
    night.taken = True
    assert night.at(105)[4:] == [(45, 3), (75, 3), (105, 3)]


def test_a_ring_is_confirmed_once_and_an_old_confirmation_says_nothing_of_a_new_ring() -> None:
    night = Night(taken=False).ordered()
    night.at(30, ConfirmRing(**HEADING, ring=1), ConfirmRing(**HEADING, ring=2), ConfirmRing(**HEADING, ring=2))
    assert of(night, AlarmPassedOn) == [30]


def test_who_claims_both_stops_the_ringing_and_who_lapses_is_told_at_once_with_the_next_ones() -> None:
    night = Night().ordered()
    night.at(26, claim(POLICE), claim(AMBULANCE))
    assert night.at(145) == [(25, 1)]
    assert night.at(147)[1:] == [(146.001, 3)]
    assert of(night, AlarmReleased) == [146, 146]


def test_a_claim_given_back_rings_at_once() -> None:
    night = Night().ordered()
    night.at(26, claim(POLICE), settle(AMBULANCE))
    night.at(40, release())
    assert night.at(69) == [(25, 1), (40.001, 1)]
    assert night.at(71)[2:] == [(70.001, 1)]


def test_a_claim_given_back_before_anybody_outside_was_told_leaves_them_their_time() -> None:
    night = Night().ordered()
    night.at(21, claim(POLICE), settle(AMBULANCE))
    night.at(22, release())
    assert night.at(30) == [(25, 1)]


def test_while_one_desk_is_phoned_the_other_rings_on_alone() -> None:
    night = Night().ordered()
    night.at(26, claim(POLICE))
    night.at(60)
    last = [event for event in night.said if isinstance(event, AlarmSounded)][-1]
    assert (night.rings, last.desks) == ([(25, 1), (55, 1)], (AMBULANCE,))


def test_a_desk_that_rings_later_is_told_with_those_that_ring_already() -> None:
    night = Night().ordered()
    night.at(26, settle(AMBULANCE))
    order = CallOutOrdered(**HEADING, **WHY, at=NIGHT, purpose=Purpose.ACT, accept_by=NIGHT, desk="140100-110", n=1)
    night.at(27, order)
    assert night.at(55) == [(25, 1), (52, 1)]
    last = [event for event in night.said if isinstance(event, AlarmSounded)][-1]
    assert last.desks == (POLICE, "140100-110")


@pytest.mark.parametrize("ended", [accepted, settle])
def test_an_alarm_that_is_over_is_told_no_more_and_a_later_one_starts_afresh(ended: object) -> None:
    night = Night().ordered()
    night.at(100, *(ended(desk) for desk in (POLICE, AMBULANCE)))  # type: ignore[operator]
    assert (len(night.at(900)), night.due()) == (3, None)
    night.at(1000, Escalate(**HEADING, by="1"))
    assert night.at(1015)[3:] == [(1015, 1)]


def test_a_late_acceptance_says_that_it_ended_an_alarm_and_a_timely_one_does_not() -> None:
    night = Night().ordered()
    night.at(5, accepted(AMBULANCE))
    night.at(100, accepted(POLICE))
    confirmed = [event for event in night.said if isinstance(event, DeskConfirmed)]
    assert [(event.desk, event.rang) for event in confirmed] == [(AMBULANCE, False), (POLICE, True)]


def test_silence_that_was_noticed_late_does_not_put_people_off_once_more() -> None:
    night = Night().ordered()
    night.learn(
        DeadlinePassed(**HEADING, instance=str(CASE), home=CITY, due=NIGHT + timedelta(seconds=20)),
        NIGHT + timedelta(seconds=27),
    )
    assert (of(night, AlarmRaised), night.rings) == ([27], [(27, 1)])


def test_a_process_that_died_before_it_told_anybody_is_noticed_by_the_next() -> None:
    night = Night(taken=False).ordered()
    night.at(26)
    kept = TypeAdapter(Call)
    night.call, night.taken = kept.validate_json(kept.dump_json(night.call)), True
    assert night.at(60) == [(25, 1), (30, 2), (60, 2)]


seconds = st.floats(0.1, 100)
clocks = st.builds(
    Clocks,
    assess_by=seconds,
    ring_at=seconds,
    outside_at=seconds,
    ring_again=seconds,
    ring_untaken=seconds,
    next_person=seconds,
    claim=seconds,
)
answers = st.sampled_from(
    [claim(d) for d in (POLICE, AMBULANCE)]
    + [release(d) for d in (POLICE, AMBULANCE)]
    + [settle(AMBULANCE), accepted(AMBULANCE)]
)
acts = st.lists(st.tuples(st.floats(0, 40), answers, st.booleans()), max_size=12)


@settings(max_examples=150, deadline=None)
@given(clocks, st.integers(1, 3), acts)
def test_what_rings_is_always_told_again_and_what_does_not_ring_is_not_told(
    policy: Clocks, people: int, acts: list[tuple[float, Message, bool]]
) -> None:
    night, now = Night(jinzhong(people, policy)).ordered(), 1.0
    for wait, message, taken in acts:
        now, night.taken = now + wait, taken
        with suppress(Rejected):
            night.at(now, message)
    assert all(told <= people for _, told in night.rings)
    assert reduce(calls.evolve, night.said, Call()) == night.call
    row, due = night.call.alarm, night.due()
    if row.ringing:
        assert due is not None
        longest = max(policy.outside_at, policy.ring_again, policy.ring_untaken)
        assert (due - NIGHT).total_seconds() <= now + longest + 0.001
    else:
        before = len(night.rings)
        until = due or night.now
        night.at((until - NIGHT).total_seconds() - 0.001)
        assert len(night.rings) == before


def test_a_clock_that_comes_back_puts_no_ring_outside_off() -> None:
    night = Night().ordered()
    before = len(night.at(600))
    night.at(40, accepted(AMBULANCE))
    assert [second for second, _ in night.at(105)[before:]] == [70, 100]
