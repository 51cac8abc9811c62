"""An incident as people read it: who is called out, how far each has come, what is late, what is still missing."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.dispatch import closing, playbook
from services.dispatch.incident import Incident, IncidentStatus
from services.dispatch.leg import Leg
from shared.contract.city import Cities
from shared.contract.incidents import CounsellingState, Purpose
from shared.contract.terms import ENDED, LADDER, Confidence, Rung, Tier


class LegView(BaseModel):
    """处置线 One desk asked once. `reached` has the UTC time of each rung; `overdue` the rungs it was late for."""

    model_config = ConfigDict(frozen=True)

    desk: str
    n: int
    purpose: Purpose
    name: str | None
    phone: str | None
    rung: Rung
    reached: dict[Rung, datetime]
    accept_by: datetime
    officer: str | None
    event_no: str | None
    code: str | None
    cancel_requested: str | None
    overdue: tuple[Rung, ...]
    correction: playbook.Correction | None


class GapView(BaseModel):
    """One thing that keeps the incident open."""

    model_config = ConfigDict(frozen=True)

    code: str
    zh: str
    en: str


class IncidentSummary(BaseModel):
    """联动事件 One line of the list of open incidents. It has no personal data."""

    model_config = ConfigDict(frozen=True)

    case: UUID
    spoken_number: str
    status: IncidentStatus
    tier: Tier | None
    reasons: tuple[str, ...]
    opened_at: datetime | None
    overdue: bool


class IncidentView(IncidentSummary):
    """联动事件 The joint response, with every leg and what is missing before it may be closed. No personal data."""

    place: Confidence
    place_city: str | None
    legs: tuple[LegView, ...]
    counselling: CounsellingState
    contact: bool
    contact_by: str | None
    absence: str | None
    follow_up: bool
    outcome: str | None
    missing: tuple[GapView, ...]


def incident_summary(cities: Cities, incident: Incident) -> IncidentSummary:
    assert incident.case is not None
    return IncidentSummary(
        case=incident.case,
        spoken_number=cities.spoken_number(incident.city, incident.case),
        status=incident.status,
        tier=incident.tier,
        reasons=incident.reasons,
        opened_at=incident.opened_at,
        overdue=any(_late(leg) for leg in incident.current),
    )


def incident_view(cities: Cities, incident: Incident) -> IncidentView:
    place = incident.situation.place
    gaps = closing.closing_gaps(incident) if incident.status is IncidentStatus.OPEN else ()
    return IncidentView(
        **dict(incident_summary(cities, incident)),
        place=place.confidence,
        place_city=place.city,
        legs=tuple(_leg(cities, leg) for leg in incident.legs),
        counselling=incident.counselling,
        contact=incident.contact,
        contact_by=incident.contact_by,
        absence=incident.absence,
        follow_up=incident.follow_up,
        outcome=incident.outcome,
        missing=tuple(GapView(code=gap.code, zh=gap.zh, en=gap.en) for gap in gaps),
    )


def _late(leg: Leg) -> bool:
    return leg.open and leg.cancel_by is None and any(LADDER[rung] > LADDER[leg.rung] for rung in leg.overdue)


def _leg(cities: Cities, leg: Leg) -> LegView:
    return LegView(
        desk=leg.desk,
        n=leg.n,
        purpose=leg.purpose,
        name=cities.desk_name(leg.desk),
        phone=leg.number or cities.desk_number(leg.desk),
        rung=leg.rung,
        reached=leg.reached,
        accept_by=leg.accept_by,
        officer=leg.officer,
        event_no=leg.event_no,
        code=leg.code,
        cancel_requested=leg.cancel_reason if leg.rung not in ENDED else None,
        overdue=leg.overdue,
        correction=playbook.correction_after(leg.code) if leg.rung is Rung.REJECTED else None,
    )
