"""风险评估: one person's risk over a call, rated anew with every screening that is saved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from services.risk_assessment.scale import rate_answers
from shared.contract.event import Command, Event, Message
from shared.contract.instruments import Answers
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Situation, Tier


class Assess(Command):
    """Rate the answers of one screening. They are in plain here, in memory only, and are kept nowhere."""

    screening: UUID
    answers: Answers = Field(repr=False)
    situation: Situation


class AssessmentStatus(StrEnum):
    UNASSESSED = "unassessed"
    ASSESSED = "assessed"


@dataclass(frozen=True)
class Rated:
    """One point of the series: what a screening amounted to, and when."""

    screening: UUID
    tier: Tier
    reasons: tuple[str, ...]
    dispatch_now: bool
    at: datetime


@dataclass(frozen=True)
class Assessment:
    """`series` holds every rating of the call, oldest first: a lower tier later never erases a higher one before."""

    status: AssessmentStatus = AssessmentStatus.UNASSESSED
    series: tuple[Rated, ...] = ()

    def knows(self, screening: UUID) -> bool:
        return any(rated.screening == screening for rated in self.series)


ALLOWED: Mapping[AssessmentStatus, Mapping[type[Event], AssessmentStatus]] = {
    AssessmentStatus.UNASSESSED: {RiskAssessed: AssessmentStatus.ASSESSED},
    AssessmentStatus.ASSESSED: {RiskAssessed: AssessmentStatus.ASSESSED},
}


def decide(assessment: Assessment, message: Message, now: datetime) -> tuple[Event, ...]:
    """A screening not seen before is rated; the same one again changes nothing."""
    match message:
        case Assess() if not assessment.knows(message.screening):
            rating = rate_answers(message.answers)
            return (
                RiskAssessed(
                    case=message.case,
                    city=message.city,
                    at=now,
                    screening=message.screening,
                    tier=rating.tier,
                    reasons=rating.reasons,
                    dispatch_now=rating.dispatch_now,
                    situation=message.situation,
                ),
            )
    return ()


def evolve(assessment: Assessment, event: Event) -> Assessment:
    """The assessment after `event`. An event the table does not allow is a bug, hence KeyError."""
    assessment = replace(assessment, status=ALLOWED[assessment.status][type(event)])
    match event:
        case RiskAssessed():
            rated = Rated(event.screening, event.tier, event.reasons, event.dispatch_now, event.at)
            return replace(assessment, series=(*assessment.series, rated))
    return assessment
