"""What risk_assessment says: a tier, always with the rules that led there."""

from typing import ClassVar
from uuid import UUID

from shared.contract.event import Event
from shared.contract.terms import Code, Situation, Tier


class RiskEvent(Event):
    """A fact about a person's risk."""

    service: ClassVar[str] = "risk_assessment"
    topic: ClassVar[str] = "risk.assessments"


class RiskAssessed(RiskEvent):
    """风险评估完成. `reasons` are rule ids; `dispatch_now` asks for people on site without another word."""

    screening: UUID
    tier: Tier
    reasons: tuple[Code, ...]
    dispatch_now: bool
    situation: Situation
