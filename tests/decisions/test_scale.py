"""What answers amount to: the highest rule met, always with its reasons, and never a reason to do less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk_assessment.scale import RULES, SEVERITY, TIER_WORDS, rate_answers
from shared.contract.instruments import ACUTE, CSSRS, INSTRUMENTS, Answers, check_answers, has_danger
from shared.contract.terms import Tier


@st.composite
def screenings(draw: st.DrawFn) -> Answers:
    """Any screening a counsellor can save: any instruments, asked as far as the talk allowed."""
    answers: dict[str, dict[str, bool]] = {}
    for name in draw(st.sets(st.sampled_from(sorted(INSTRUMENTS)), min_size=1)):
        given_answers: dict[str, bool] = {}
        for item in INSTRUMENTS[name].items:
            before = INSTRUMENTS[name].asked_if.get(item)
            if (before is None or given_answers.get(before)) and draw(st.booleans()):
                given_answers[item] = draw(st.booleans())
        answers[name] = given_answers
    if not any(answers.values()):
        answers = {CSSRS.name: {"1": draw(st.booleans())}}
    check_answers(answers)
    return answers


def cssrs(*positive: str) -> Answers:
    asked = {item: item in positive for item in CSSRS.items if CSSRS.asked_if.get(item, item) in {*positive, item}}
    check_answers({CSSRS.name: asked})
    return {CSSRS.name: asked}


def acute(*positive: str) -> Answers:
    return {ACUTE.name: {item: item in positive for item in ACUTE.items}}


@pytest.mark.parametrize(
    ("positive", "tier", "dispatch_now"),
    [
        ((), Tier.NONE, False),
        (("1",), Tier.LOW, False),
        (("2",), Tier.LOW, False),
        (("1", "2"), Tier.LOW, False),
        (("2", "3"), Tier.MODERATE, False),
        (("6_lifetime",), Tier.MODERATE, False),
        (("2", "4"), Tier.HIGH, True),
        (("2", "5"), Tier.HIGH, True),
        (("6_lifetime", "6_3_months"), Tier.HIGH, True),
        (("1", "2", "3", "4", "5", "6_lifetime", "6_3_months"), Tier.HIGH, True),
    ],
)
def test_the_screener_is_rated_by_its_highest_rule(positive: tuple[str, ...], tier: Tier, dispatch_now: bool) -> None:
    rating = rate_answers(cssrs(*positive))
    assert (rating.tier, rating.dispatch_now) == (tier, dispatch_now)


@pytest.mark.parametrize(
    ("positive", "tier"),
    [("plan_72_hours", Tier.HIGH), ("attempt_2_weeks", Tier.HIGH), ("in_progress", Tier.IMMINENT)],
)
def test_any_one_acute_criterion_sends_people_at_once(positive: str, tier: Tier) -> None:
    rating = rate_answers(acute(positive))
    assert (rating.tier, rating.dispatch_now) == (tier, True)
    assert rating.reasons == (f"acute-criteria/1:{positive}",)


def test_the_reasons_name_every_rule_met_the_most_serious_first() -> None:
    rating = rate_answers({**cssrs("1", "2", "5"), **acute("in_progress")})
    assert rating.reasons == (
        "acute-criteria/1:in_progress",
        "cssrs-screener/1:5",
        "cssrs-screener/1:1",
        "cssrs-screener/1:2",
    )


def test_no_positive_answer_is_said_as_such() -> None:
    assert rate_answers({**cssrs(), **acute()}).reasons == ("cssrs-screener/1:none", "acute-criteria/1:none")


def test_a_form_not_asked_to_the_end_never_reads_as_an_all_clear() -> None:
    assert rate_answers({CSSRS.name: {"1": False}}).reasons == ("cssrs-screener/1:unfinished",)


def test_every_item_of_every_instrument_has_exactly_one_rule() -> None:
    items = {f"{name}:{item}" for name, tool in INSTRUMENTS.items() for item in (*tool.items, "none", "unfinished")}
    assert set(RULES) == items
    assert all(RULES[rule].id == rule for rule in RULES)


def test_every_rule_and_every_tier_has_words_and_a_source_in_both_tongues() -> None:
    assert all(rule.zh and rule.en and rule.source for rule in RULES.values())
    assert set(TIER_WORDS) == set(Tier)
    assert all(words.zh and words.en for words in TIER_WORDS.values())


@given(screenings())
def test_a_rating_always_stands_on_reasons_that_exist(answers: Answers) -> None:
    rating = rate_answers(answers)
    assert rating.reasons
    assert max(SEVERITY[RULES[reason].tier] for reason in rating.reasons) == SEVERITY[rating.tier]


@given(screenings())
def test_what_starts_the_ledgers_clocks_is_what_sends_people_at_once(answers: Answers) -> None:
    assert rate_answers(answers).dispatch_now == has_danger(answers)


@given(screenings(), st.sampled_from(sorted(ACUTE.items)))
def test_a_further_positive_answer_never_lowers_a_rating(answers: Answers, item: str) -> None:
    before, after = (
        rate_answers(answers),
        rate_answers({**answers, ACUTE.name: {**answers.get(ACUTE.name, {}), item: True}}),
    )
    assert SEVERITY[after.tier] >= SEVERITY[before.tier]
    assert after.dispatch_now >= before.dispatch_now
