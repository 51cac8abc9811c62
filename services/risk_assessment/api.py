"""What can be asked of risk assessment: one call's tier, the words behind it, and how it went over the call."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from services.risk_assessment.assessment import Assessment, Rated
from services.risk_assessment.scale import RULES, TIER_WORDS
from shared.contract.terms import Tier
from shared.kernel.machine.keeper import Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.process import web
from shared.kernel.process.service import Kit
from shared.kernel.process.web import Actor


class ReasonView(BaseModel):
    """A rule that was met, in words; `signed_off` says whether a clinician vouches for it."""

    model_config = ConfigDict(frozen=True)

    rule: str
    zh: str
    en: str
    source: str
    signed_off: bool


class RatingView(BaseModel):
    """One rating in the series."""

    model_config = ConfigDict(frozen=True)

    screening: UUID
    tier: Tier
    reasons: tuple[str, ...]
    dispatch_now: bool
    at: datetime


class AssessmentView(BaseModel):
    """The latest rating with its words, and the whole series, oldest first."""

    model_config = ConfigDict(frozen=True)

    case: UUID
    tier: Tier
    zh: str
    en: str
    dispatch_now: bool
    reasons: tuple[ReasonView, ...]
    series: tuple[RatingView, ...]


def routes(kit: Kit, assessments: Keeper[Assessment]) -> APIRouter:
    router = APIRouter(tags=["assessments"])

    @router.get("/cities/{city}/assessments/{case}", summary="Read an assessment 查看评估")
    async def assessment(city: str, case: UUID, _: Actor) -> AssessmentView:
        """The call's tier with its reasons, as of the last screening. 404 where nothing was screened yet."""
        web.city_pack(kit.cities, city)
        known = await assessments.get(Address(instance=str(case), home=city))
        if known is None or not known.series:
            raise web.NotFound("assessment_not_found", "No screening of this call has been rated yet.")
        return assessment_view(case, known.series)

    return router


def assessment_view(case: UUID, series: tuple[Rated, ...]) -> AssessmentView:
    latest = series[-1]
    return AssessmentView(
        case=case,
        tier=latest.tier,
        zh=TIER_WORDS[latest.tier].zh,
        en=TIER_WORDS[latest.tier].en,
        dispatch_now=latest.dispatch_now,
        reasons=tuple(reason_view(rule) for rule in latest.reasons),
        series=tuple(
            RatingView(screening=r.screening, tier=r.tier, reasons=r.reasons, dispatch_now=r.dispatch_now, at=r.at)
            for r in series
        ),
    )


def reason_view(rule_id: str) -> ReasonView:
    rule = RULES[rule_id]
    return ReasonView(
        rule=rule.id, zh=rule.zh, en=rule.en, source=rule.source, signed_off=rule.signed_off_by is not None
    )
