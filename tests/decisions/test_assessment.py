"""A call's risk over time: each screening is rated once, and the series forgets nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk_assessment.assessment import ALLOWED, Assess, Assessment, AssessmentStatus, decide, evolve
from shared.contract.calls import CallEnded, CallEnding
from shared.contract.event import Event
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Confidence, Place, Situation, Tier

CASE = UUID("0197a000-0000-7000-8000-000000000001")
CITY = "140700"
TEN = datetime(2026, 3, 1, 22, tzinfo=UTC)
HERE = Situation(place=Place(confidence=Confidence.READ_BACK, city=CITY), counsellor="1001")


def screening(number: int, **acute: bool) -> Assess:
    answers: Mapping[str, Mapping[str, bool]] = {"acute-criteria/1": acute or {"in_progress": False}}
    return Assess(case=CASE, city=CITY, screening=UUID(int=number), answers=answers, situation=HERE)


def after(*messages: Assess) -> Assessment:
    assessment = Assessment()
    for minutes, message in enumerate(messages):
        events = decide(assessment, message, TEN + timedelta(minutes=minutes))
        assessment = reduce(evolve, events, assessment)
    return assessment


def test_a_screening_is_rated_and_the_situation_travels_with_the_rating() -> None:
    [assessed] = decide(Assessment(), screening(1, in_progress=True), TEN)
    assert assessed == RiskAssessed(
        case=CASE,
        city=CITY,
        at=TEN,
        screening=UUID(int=1),
        tier=Tier.IMMINENT,
        reasons=("acute-criteria/1:in_progress",),
        dispatch_now=True,
        situation=HERE,
    )


def test_the_same_screening_again_is_not_rated_again() -> None:
    assert decide(after(screening(1)), screening(1, in_progress=True), TEN) == ()


def test_every_further_screening_is_rated_even_if_the_tier_stays_the_same() -> None:
    assert len(after(screening(1), screening(2), screening(3)).series) == 3


def test_a_calmer_screening_later_does_not_erase_the_danger_before() -> None:
    series = after(screening(1, plan_72_hours=True), screening(2)).series
    assert [(rated.tier, rated.at) for rated in series] == [
        (Tier.HIGH, TEN),
        (Tier.NONE, TEN + timedelta(minutes=1)),
    ]


def test_what_is_no_screening_changes_nothing() -> None:
    ended = CallEnded(case=CASE, city=CITY, at=TEN, how=CallEnding.COMPLETED, by="1001")
    assert decide(after(screening(1)), ended, TEN) == ()


def test_answers_stay_out_of_whatever_prints_the_command() -> None:
    assert "in_progress" not in repr(screening(1, in_progress=True))


def test_an_event_of_others_is_a_bug_here() -> None:
    with pytest.raises(KeyError):
        evolve(Assessment(), CallEnded(case=CASE, city=CITY, at=TEN, how=CallEnding.LOST, by="1001"))


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans())))
def test_no_history_leaves_the_table_and_the_state_is_the_fold_of_its_own_events(
    history: list[tuple[int, bool, bool]],
) -> None:
    state, said = Assessment(), list[Event]()
    for number, planned, acting in history:
        events = decide(state, screening(number, plan_72_hours=planned, in_progress=acting), TEN)
        assert all(type(event) in ALLOWED[state.status] for event in events)
        state, said = reduce(evolve, events, state), [*said, *events]
    assert state == reduce(evolve, said, Assessment())
    assert len(state.series) == len({number for number, _, _ in history})
    assert (state.status is AssessmentStatus.ASSESSED) == bool(history)
