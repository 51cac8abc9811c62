"""量表: which rule each answer meets, and what tier and urgency the rules met amount to.

The table is clinical content: versioned with its instrument, sourced line by line, and signed for by a clinician
before it is relied on. Acute criteria decide dispatch, scores decide follow-up (Yin 2025, n = 8,859). A tier never
decides care and never withholds it (NICE NG225, 2022): it can only add people.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.contract.instruments import ACUTE, CSSRS, INSTRUMENTS, Answers, Instrument
from shared.contract.rules import RULE_WORDS
from shared.contract.terms import Tier
from shared.contract.words import Words

SCREENER = "C-SSRS screener triage, NINDS Common Data Elements; highest rule met, not a sum"
HOTLINE = "Beijing hotline acute criteria, any one = high; CAPMH 2024, doi 10.1186/s13034-024-00765-5"
OURS = "Our reading: silence on a form is not an answer of no; NICE NG225 (2022): no tier rules out danger"


@dataclass(frozen=True)
class Rule:
    """One line of an instrument's table. `red` sends people at once; `signed_off_by` is the clinician who vouches."""

    id: str
    tier: Tier
    zh: str
    en: str
    source: str
    red: bool = False
    signed_off_by: str | None = None


@dataclass(frozen=True)
class Rating:
    """`reasons` are the rules met, the most serious first; never empty."""

    tier: Tier
    reasons: tuple[str, ...]
    dispatch_now: bool


def rule_id(instrument: Instrument, item: str) -> str:
    """The published name of a rule, e.g. `cssrs-screener/1:5`."""
    return f"{instrument.name}:{item}"


def table_rule(instrument: Instrument, item: str, tier: Tier, source: str, *, red: bool = False) -> Rule:
    words = RULE_WORDS[rule_id(instrument, item)]
    return Rule(rule_id(instrument, item), tier, words.zh, words.en, source, red)


def screener_rule(item: str, tier: Tier) -> Rule:
    return table_rule(CSSRS, item, tier, SCREENER, red=tier is Tier.HIGH)


def acute_rule(item: str, tier: Tier) -> Rule:
    return table_rule(ACUTE, item, tier, HOTLINE, red=True)


def quiet_rules(instrument: Instrument) -> tuple[Rule, Rule]:
    """The two rules of an instrument without a positive answer: all of it asked, or only a part."""
    return (
        table_rule(instrument, "none", Tier.NONE, OURS),
        table_rule(instrument, "unfinished", Tier.NONE, OURS),
    )


RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        screener_rule("1", Tier.LOW),
        screener_rule("2", Tier.LOW),
        screener_rule("3", Tier.MODERATE),
        screener_rule("4", Tier.HIGH),
        screener_rule("5", Tier.HIGH),
        screener_rule("6_lifetime", Tier.MODERATE),
        screener_rule("6_3_months", Tier.HIGH),
        acute_rule("plan_72_hours", Tier.HIGH),
        acute_rule("attempt_2_weeks", Tier.HIGH),
        acute_rule("in_progress", Tier.IMMINENT),
        *quiet_rules(CSSRS),
        *quiet_rules(ACUTE),
    )
}
"""Every rule by id. Nobody has signed for this version yet."""

TIER_WORDS: Mapping[Tier, Words] = {
    Tier.NONE: Words(
        "未见阳性回答。这不表示没有危险：照常提供帮助，情况变化即重新筛查。",
        "No positive answer. That does not mean no danger: help as always, and screen again when anything changes.",
    ),
    Tier.LOW: Words(
        "有死亡愿望或自杀念头。继续情绪疏导，约定随访；随时可人工升级。",
        "A wish to die, or thoughts of suicide. Go on supporting, agree on follow-up; escalate by hand at any time.",
    ),
    Tier.MODERATE: Words(
        "有方法或既往行为。制定安全计划，请督导关注；随时可人工升级。",
        "A method, or earlier behaviour. Make a safety plan and tell the supervisor; escalate by hand at any time.",
    ),
    Tier.HIGH: Words(
        "高危。不要离线，确认位置与身边的人，减少可及的工具。",
        "High. Stay on the line; find out where and with whom; put the means out of reach.",
    ),
    Tier.IMMINENT: Words(
        "正在发生。不要离线，现场救援与线上疏导同时进行。",
        "Happening now. Stay on the line: rescue on site and counselling go on together.",
    ),
}
"""No level withholds help, and each says so in its own words."""

SEVERITY: Mapping[Tier, int] = {tier: height for height, tier in enumerate(Tier)}


def rate_answers(answers: Answers) -> Rating:
    """Rate checked answers by the highest rule met. KeyError on an instrument or item that does not exist."""
    met = sorted(rules_met(answers), key=lambda rule: SEVERITY[rule.tier], reverse=True)
    positive = [rule for rule in met if rule.tier is not Tier.NONE]
    return Rating(met[0].tier, tuple(rule.id for rule in positive or met), any(rule.red for rule in met))


def rules_met(answers: Answers) -> Iterator[Rule]:
    """The rules that the answers meet, in the order of the instrument."""
    for name, given in answers.items():
        instrument = INSTRUMENTS[name]
        positive = [item for item in instrument.items if given.get(item)]
        for item in positive or [unanswered_rule(instrument, given)]:
            yield RULES[rule_id(instrument, item)]


def unanswered_rule(instrument: Instrument, given: Mapping[str, bool]) -> str:
    """What no positive answer means: `none` if all that had to be asked was, `unfinished` otherwise."""
    to_ask = [item for item in instrument.items if item not in instrument.asked_if]
    return "none" if all(item in given for item in to_ask) else "unfinished"
