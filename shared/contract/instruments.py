"""筛查工具: what each instrument asks, which answers it can have, and which of them mean danger.

What the answers amount to is risk assessment's business (`services/risk_assessment/scale.py`).
Sources: C-SSRS screener, six yes/no items with skip logic (NINDS Common Data Elements); the acute criteria in use at
the Beijing hotline (Child and Adolescent Psychiatry and Mental Health 2024, doi 10.1186/s13034-024-00765-5).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.contract.event import Rejected

Answers = Mapping[str, Mapping[str, bool]]
"""Answers by instrument and item; an item that was not asked is absent."""


@dataclass(frozen=True)
class Instrument:
    """One version of one instrument. `asked_if` names the item that must be yes before another is asked."""

    name: str
    items: Mapping[str, str]
    danger: frozenset[str]
    asked_if: Mapping[str, str] = field(default_factory=dict)


CSSRS = Instrument(
    name="cssrs-screener/1",
    items={
        "1": "过去一个月，是否希望自己死去或睡着不再醒来 wish to be dead",
        "2": "过去一个月，是否有过自杀的念头 active thoughts of killing oneself",
        "3": "是否想过用什么方法 with method",
        "4": "是否有付诸行动的意向 some intent",
        "5": "是否已有具体计划并打算实施 plan and intent",
        "6_lifetime": "一生中是否做过、开始做过或准备过自杀行为 any behaviour, lifetime",
        "6_3_months": "上述行为是否发生在最近三个月内 within three months",
    },
    asked_if={"3": "2", "4": "2", "5": "2", "6_3_months": "6_lifetime"},
    danger=frozenset({"4", "5", "6_3_months"}),
)

ACUTE = Instrument(
    name="acute-criteria/1",
    items={
        "plan_72_hours": "是否计划在72小时内实施 plan to act within 72 hours",
        "attempt_2_weeks": "最近两周内是否有过自杀未遂 attempt in the past two weeks",
        "in_progress": "通话前几分钟或通话中正在实施 act in progress",
    },
    danger=frozenset({"plan_72_hours", "attempt_2_weeks", "in_progress"}),
)

INSTRUMENTS: Mapping[str, Instrument] = {instrument.name: instrument for instrument in (CSSRS, ACUTE)}


class UnknownAnswer(Rejected):
    """Answers that the instrument cannot have."""

    status = 422


def check_answers(answers: Answers) -> None:
    """Refuse answers that no instrument can have. A partly filled screening is fine: help never waits for a form."""
    if not any(answers.values()):
        raise UnknownAnswer(
            "no_answers", "The screening has no answers. Record at least one, or escalate by hand (F9)."
        )
    for name, given in answers.items():
        instrument = INSTRUMENTS.get(name)
        if instrument is None:
            raise UnknownAnswer("unknown_instrument", f"No such instrument. Known: {', '.join(INSTRUMENTS)}.")
        for item in given:
            if item not in instrument.items:
                raise UnknownAnswer("unknown_item", f"{name} asks only {', '.join(instrument.items)}.")
            before = instrument.asked_if.get(item)
            if before is not None and not given.get(before, False):
                raise UnknownAnswer(
                    "item_not_asked", f"{name} asks item {item} only after yes to item {before}. Leave it out."
                )


YES, NO = frozenset({"true", "yes", "y", "1", "是"}), frozenset({"false", "no", "n", "0", "否"})
"""How systems write an answer where none is true or false."""


def known_answers(told: object) -> tuple[Answers, bool]:
    """Of what was told, the answers that an instrument asks for, and whether there was anything else."""
    answers: dict[str, dict[str, bool]] = {}
    rest = not isinstance(told, Mapping)
    for name, given in told.items() if isinstance(told, Mapping) else ():
        instrument = INSTRUMENTS.get(name)
        if instrument is None or not isinstance(given, Mapping):
            rest = True
            continue
        read = {item: _yes_or_no(answer) for item, answer in given.items() if item in instrument.items}
        answers[name] = {item: answer for item, answer in read.items() if answer is not None}
        rest = rest or len(answers[name]) < len(given)
    return answers, rest


def _yes_or_no(told: object) -> bool | None:
    if isinstance(told, bool):
        return told
    word = str(told).strip().lower()
    return True if word in YES else False if word in NO else None


def has_danger(answers: Answers) -> bool:
    """Whether any answer is one that starts the ledger's clocks at the moment it is saved."""
    known = ((INSTRUMENTS[name], given) for name, given in answers.items() if name in INSTRUMENTS)
    return any(answer and item in instrument.danger for instrument, given in known for item, answer in given.items())
