"""How danger opens an incident, or joins one that is open: by an assessment, or by a counsellor's own hand."""

from datetime import datetime

from services.dispatch import calling, playbook
from services.dispatch.incident import Incident, IncidentStatus, evolve, noted_place
from shared.contract.calls import EscalationRequested
from shared.contract.city import Cities
from shared.contract.event import Event
from shared.contract.incidents import IncidentOpened, IncidentRaised
from shared.contract.risk import RiskAssessed
from shared.contract.terms import Rung, Situation, Tier

HEIGHT = {tier: height for height, tier in enumerate(Tier)}


def on_risk_assessed(cities: Cities, incident: Incident, message: RiskAssessed, now: datetime) -> tuple[Event, ...]:
    """An assessment opens the incident only if it asks for people on site; on an open one it adds, and never undoes."""
    if incident.status is not IncidentStatus.OPEN:
        if not message.dispatch_now:
            return ()
        opened = _opened(incident, message, message.tier, message.reasons, now)
        return _called_out(cities, incident, opened, playbook.kinds_to_call(message.tier), now)
    tier = max(incident.tier, message.tier, key=_height)
    worse = tier != incident.tier or not set(message.reasons) <= set(incident.reasons)
    serious = message.tier in {Tier.HIGH, Tier.IMMINENT} and worse
    if not (message.dispatch_now or serious):
        return ()
    raised = _raised(incident, message, tier, message.reasons, now)
    again = playbook.AGAIN_BY_ASSESSMENT if worse and message.dispatch_now else frozenset[Rung]()
    return (raised, *calling.missing_orders(cities, evolve(incident, raised), playbook.kinds_to_call(tier), now, again))


def on_escalation_requested(
    cities: Cities, incident: Incident, message: EscalationRequested, now: datetime
) -> tuple[Event, ...]:
    """F9 opens the incident or joins it, whatever is unknown; joining, it also calls back desks that had ended."""
    reasons = (playbook.BY_HAND,)
    if incident.status is not IncidentStatus.OPEN:
        opened = _opened(incident, message, None, reasons, now).model_copy(update={"by": message.by})
        return _called_out(cities, incident, opened, playbook.kinds_to_call(None, message.desks), now)
    raised = _raised(incident, message, incident.tier, reasons, now).model_copy(update={"by": message.by})
    kinds = playbook.kinds_to_call(incident.tier, message.desks)
    return (raised, *calling.missing_orders(cities, evolve(incident, raised), kinds, now, playbook.AGAIN_BY_HAND))


def _opened(
    incident: Incident,
    message: RiskAssessed | EscalationRequested,
    tier: Tier | None,
    reasons: tuple[str, ...],
    now: datetime,
) -> IncidentOpened:
    return IncidentOpened(
        case=message.case,
        city=message.city,
        at=now,
        tier=tier,
        reasons=reasons,
        situation=_at_opening(incident, message.situation),
        desks=(),
    )


def _at_opening(incident: Incident, situation: Situation) -> Situation:
    # The place heard of directly wins over the one that travelled through risk assessment: if it is the older of the
    # two, the newer one's own report is on its way and corrects it; the other way round nothing would.
    place = noted_place(incident) if incident.status is IncidentStatus.NONE else None
    return situation if place is None else situation.model_copy(update={"place": place})


def _called_out(
    cities: Cities, incident: Incident, opened: IncidentOpened, kinds: tuple[str, ...], now: datetime
) -> tuple[Event, ...]:
    ordered = calling.missing_orders(cities, evolve(incident, opened), kinds, now, playbook.AGAIN_BY_HAND)
    desks = tuple(order.desk for order in ordered if order.n > 0)
    return (opened.model_copy(update={"desks": desks}), *ordered)


def _raised(
    incident: Incident,
    message: RiskAssessed | EscalationRequested,
    tier: Tier | None,
    reasons: tuple[str, ...],
    now: datetime,
) -> IncidentRaised:
    # The place stays: only PlaceReported moves an open incident, since an assessment may carry an older one.
    told = {"brief": message.situation.brief, "counsellor": message.situation.counsellor}
    known = {name: value for name, value in told.items() if value is not None}
    return IncidentRaised(
        case=message.case,
        city=message.city,
        at=now,
        tier=tier,
        reasons=tuple(dict.fromkeys((*incident.reasons, *reasons))),
        situation=incident.situation.model_copy(update=known),
    )


def _height(tier: Tier | None) -> int:
    return -1 if tier is None else HEIGHT[tier]
