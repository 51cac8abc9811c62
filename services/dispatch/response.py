"""What dispatch announces on learning each thing: danger, a new place, a desk's report, silence, a person's wish."""

from datetime import datetime
from functools import reduce

from services.dispatch import calling, supervision
from services.dispatch.danger import on_escalation_requested, on_risk_assessed
from services.dispatch.incident import Incident, IncidentStatus, evolve
from services.dispatch.leg import Leg, moves_up, owed_rungs
from shared.contract.callouts import CallOutAccepted, CallOutUnreachable, Report
from shared.contract.calls import CallEnded, CallEnding, EscalationRequested, FollowUpPlanned, PlaceReported
from shared.contract.city import Cities
from shared.contract.event import Command, DeadlinePassed, Event, Message
from shared.contract.incidents import (
    CallNoted,
    CounsellingChanged,
    CounsellingState,
    FollowUpNoted,
    LegChanged,
    LegOverdue,
    PlaceMoved,
)
from shared.contract.risk import RiskAssessed
from shared.contract.terms import LADDER, Rung

OVER = frozenset({CounsellingState.ENDED, CounsellingState.LOST})


def decide(cities: Cities, incident: Incident, message: Message, now: datetime) -> tuple[Event, ...]:
    """What follows from `message`. Only a command may be refused; an event that changes nothing returns ()."""
    match message:
        case RiskAssessed():
            return on_risk_assessed(cities, incident, message, now)
        case EscalationRequested():
            return on_escalation_requested(cities, incident, message, now)
        case Report() if incident.status is not IncidentStatus.CLOSED:
            return on_report(cities, incident, message, now)
        case CallOutUnreachable() if incident.status is IncidentStatus.OPEN:
            return on_unreachable(incident, message, now)
        case DeadlinePassed() if incident.status is IncidentStatus.OPEN:
            return on_silence(cities, incident, message, now)
        case Command():
            return supervision.decide(cities, incident, message, now)
        case PlaceReported() | CallEnded() | FollowUpPlanned() if incident.status is not IncidentStatus.CLOSED:
            return _on_call(cities, incident, message, now)
    return ()


def _on_call(cities: Cities, incident: Incident, message: Message, now: datetime) -> tuple[Event, ...]:
    if incident.status is IncidentStatus.NONE:
        return before_any_danger(incident, message, now)
    match message:
        case PlaceReported():
            return on_place_reported(cities, incident, message, now)
        case CallEnded():
            return on_call_ended(incident, message, now)
    return () if incident.follow_up else (FollowUpNoted(case=message.case, city=message.city, at=now),)


def before_any_danger(incident: Incident, message: Message, now: datetime) -> tuple[Event, ...]:
    """What must not be forgotten if the assessment that opens the incident is still on its way."""
    noted = CallNoted(case=message.case, city=message.city, at=now)
    match message:
        case PlaceReported(place=place) if place != incident.situation.place:
            return (noted.model_copy(update={"place": place}),)
        case CallEnded(how=how) if incident.counselling not in OVER:
            return (noted.model_copy(update={"counselling": _ending(how)}),)
        case FollowUpPlanned() if not incident.follow_up:
            return (noted.model_copy(update={"follow_up": True}),)
    return ()


def on_place_reported(cities: Cities, incident: Incident, message: PlaceReported, now: datetime) -> tuple[Event, ...]:
    """A new place: who now has somewhere to go is called out, and a read-back city gets its own desks."""
    if message.place == incident.situation.place:
        return ()
    moved = PlaceMoved(case=message.case, city=message.city, at=now, place=message.place)
    after = evolve(incident, moved)
    ordered = calling.where_it_is_now(cities, after, now)
    return (moved, *ordered, *calling.release_left_behind(cities, reduce(evolve, ordered, after), now))


def on_call_ended(incident: Incident, message: CallEnded, now: datetime) -> tuple[Event, ...]:
    """The counselling leg is over; the legs on site go on."""
    if incident.counselling in OVER:
        return ()
    state = _ending(message.how)
    return (CounsellingChanged(case=message.case, city=message.city, at=now, state=state, by=message.by),)


def _ending(how: CallEnding) -> CounsellingState:
    return CounsellingState.LOST if how is CallEnding.LOST else CounsellingState.ENDED


def on_report(cities: Cities, incident: Incident, report: Report, now: datetime) -> tuple[Event, ...]:
    """A desk's report moves its leg upwards, or names who has it; a late or repeated one changes nothing."""
    rung = _rung_after(incident, report)
    if rung is None:
        return ()
    changed = LegChanged(
        case=report.case,
        city=report.city,
        at=now,
        desk=report.desk,
        n=report.n,
        rung=rung,
        officer=report.officer,
        event_no=getattr(report, "event_no", None),
        code=getattr(report, "code", None),
    )
    after = evolve(incident, changed)
    leg = after.leg(report.desk, report.n)
    if leg is None:
        return (changed,)
    return (changed, *calling.release_left_behind(cities, after, now), *calling.call_back(cities, after, leg, now))


def _rung_after(incident: Incident, report: Report) -> Rung | None:
    leg = incident.leg(report.desk, report.n)
    if leg is None:
        said = incident.said_early(report.desk, report.n)
        return None if any(LADDER[early.rung] >= LADDER[report.rung] for early in said) else report.rung
    if moves_up(leg, report.rung):
        return report.rung
    # The number under which they have it may come after the first news from the road.
    return leg.rung if isinstance(report, CallOutAccepted) and leg.open and leg.event_no is None else None


def on_unreachable(incident: Incident, message: CallOutUnreachable, now: datetime) -> tuple[Event, ...]:
    """A leg that nothing has been heard of says why, and stays on its rung."""
    leg = incident.leg(message.desk, message.n)
    if leg is None or leg.rung is not Rung.REQUESTED or leg.code == message.reason:
        return ()
    return (
        LegChanged(
            case=message.case, city=message.city, at=now, desk=leg.desk, n=leg.n, rung=leg.rung, code=message.reason
        ),
    )


def on_silence(cities: Cities, incident: Incident, message: Message, now: datetime) -> tuple[Event, ...]:
    """Every rung whose moment has passed, each said once."""
    return tuple(
        LegOverdue(case=message.case, city=message.city, at=now, desk=leg.desk, n=leg.n, rung=rung)
        for leg in incident.current
        for rung, due in _owed(cities, incident, leg)
        if due <= now
    )


def _owed(cities: Cities, incident: Incident, leg: Leg) -> list[tuple[Rung, datetime]]:
    clocks = cities.desk_clocks(leg.desk, incident.city)
    return list(owed_rungs(leg, clocks, by_phone=cities.by_phone(leg.desk)))


def deadline(cities: Cities, incident: Incident) -> datetime | None:
    """The earliest moment at which some desk will have been silent for too long."""
    if incident.status is not IncidentStatus.OPEN:
        return None
    return min((due for leg in incident.current for _, due in _owed(cities, incident, leg)), default=None)
