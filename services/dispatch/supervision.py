"""What a person may ask of an incident: to call out again, to stand down, to confirm contact, to close."""

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from services.dispatch import calling, closing, playbook
from services.dispatch.incident import Incident, IncidentStatus
from services.dispatch.leg import Leg
from services.dispatch.playbook import CalledDesk
from shared.contract.city import Cities
from shared.contract.event import Command, Event, Rejected
from shared.contract.incidents import AbsenceExplained, ContactConfirmed, IncidentClosed
from shared.contract.outcomes import OUTCOMES
from shared.contract.terms import ACCEPTED, ECHO, ENDED, ActorId, Code, Folded, Rung, Tier, desk_city, desk_kind

DeskOrKind = Annotated[str, StringConstraints(pattern=r"^([0-9]{6}-)?[0-9]{3,5}$"), Folded]
"""A desk (140700-110), or a kind of desk (110), which means the one where the person is."""

MAY_FOLLOW = ENDED | {Rung.NOT_FOUND}
"""Rungs after which a person may call the same desk out again."""


class OrderAgain(Command):
    """再次请求: one more call-out of a desk, or the first one of another."""

    desk: DeskOrKind
    reason: Code
    by: ActorId


class CancelCallOut(Command):
    """请求撤回一个指挥台."""

    desk: DeskOrKind
    reason: Code
    by: ActorId


class StandDown(Command):
    """请求全部撤回."""

    reason: Code
    by: ActorId


class ConfirmContact(Command):
    """确认见到本人."""

    by: ActorId


class ExplainAbsence(Command):
    """说明为何未见到本人."""

    reason: Code
    by: ActorId


class CloseIncident(Command):
    """结案."""

    outcome: str
    by: ActorId


class NoIncident(Rejected):
    """The call has no incident."""

    status = 404


class UnknownDesk(Rejected):
    """A desk that nobody could reach."""

    status = 422


def decide(cities: Cities, incident: Incident, command: Command, now: datetime) -> tuple[Event, ...]:
    """What the wish leads to. Raises Rejected if it may not be had, saying why and what to do."""
    _open(incident)
    match command:
        case OrderAgain():
            return order_again(cities, incident, command, now)
        case CancelCallOut():
            return cancel_call_out(incident, command, now)
        case StandDown():
            return stand_down(incident, command, now)
        case ConfirmContact(by=by):
            confirmed = ContactConfirmed(case=command.case, city=command.city, at=now, by=by)
            return () if incident.contact_by else (confirmed,)
        case ExplainAbsence():
            return explain_absence(incident, command, now)
        case CloseIncident():
            return close_incident(incident, command, now)
    raise TypeError(f"dispatch has no answer to {type(command).__name__}")


def _open(incident: Incident) -> None:
    if incident.status is IncidentStatus.NONE:
        raise NoIncident("no_incident", "There is no incident of this call. Escalate it first (F9).")
    if incident.status is IncidentStatus.CLOSED:
        raise Rejected("incident_closed", "The incident is closed. New danger opens it again: escalate the call (F9).")


def order_again(cities: Cities, incident: Incident, command: OrderAgain, now: datetime) -> tuple[Event, ...]:
    """A person's decision, so it needs no place and may name any desk that can be reached; `n` rises by one."""
    callee = _callee(cities, incident, command.desk)
    last = incident.last(callee.desk)
    if last is not None and last.rung not in MAY_FOLLOW:
        raise Rejected(
            "callout_still_open",
            f"Call-out {last.desk}/{last.n} is {last.rung}. Ask the desk to cancel it, or wait for its answer.",
        )
    order = calling.order_to_act(cities, incident, callee, now)
    return (order.model_copy(update={"by": command.by, "because": command.reason}),)


def _callee(cities: Cities, incident: Incident, asked: str) -> CalledDesk:
    here = calling.target_city(cities, incident)
    city, kind = (desk_city(asked), desk_kind(asked)) if "-" in asked else (here.city, asked)
    pack = cities.get(city)
    place = incident.situation.place
    if pack is not None:
        if kind == ECHO or pack.desk(kind) is None:
            raise UnknownDesk("unknown_desk", f"{pack.name_en} has no desk {kind}. It has {', '.join(pack.desks)}.")
        return playbook.choose_desk(cities, playbook.TargetCity(city, pack.area_code), kind)
    area_code = here.area_code if city == here.city else place.area_code if city == place.city else None
    if served := cities.of_area(area_code):
        return playbook.choose_desk(cities, playbook.TargetCity(served.code, served.area_code), kind)
    if area_code is None:
        raise UnknownDesk("unknown_desk", f"Nobody knows the area code of {city}. Report the place with it first.")
    return playbook.choose_desk(cities, playbook.TargetCity(city, area_code), kind)


def cancel_call_out(incident: Incident, command: CancelCallOut, now: datetime) -> tuple[Event, ...]:
    """One desk is asked to stand down.

    While an act is in progress and nobody has made sure of the person, only a desk whose kind another desk has accepted
    may be let go: else a supervisor could do desk by desk what `stand_down` refuses.
    """
    legs = [leg for leg in incident.at_work if command.desk in {leg.desk, leg.kind} and leg.cancel_by is None]
    desks = {leg.desk for leg in legs}
    if not legs:
        raise Rejected("no_open_callout", f"No open call-out of {command.desk} is left that was not asked to cancel.")
    if len(desks) > 1:
        raise Rejected("which_desk", f"More than one desk is called out: {', '.join(sorted(desks))}. Name one.")
    if _in_progress(incident) and not any(_covers(other, legs[0]) for other in incident.at_work):
        raise _act_in_progress()
    return tuple(calling.cancel_request(incident, leg, now, reason=command.reason, by=command.by) for leg in legs)


def _covers(other: Leg, leg: Leg) -> bool:
    has_it = other.rung in ACCEPTED and other.cancel_by is None
    return other.kind == leg.kind and other.desk != leg.desk and has_it


def stand_down(incident: Incident, command: StandDown, now: datetime) -> tuple[Event, ...]:
    """Every desk is asked to stand down, those only warned too.

    Refused while an act is in progress and nobody has made sure of the person: a supervisor is consulted, but can
    never hold back a rescue (988 imminent-risk policy). What lifts it is contact, reported by a desk or confirmed by
    one of us who sees or hears the person safe. A desk that finds the call unfounded clears it itself. In every
    other case standing down is a request, and the desk answers whether it still can.
    """
    if _in_progress(incident):
        raise _act_in_progress()
    legs = [leg for leg in incident.current if leg.open and leg.cancel_by is None]
    if not legs:
        raise Rejected("nothing_to_stand_down", "Every desk has ended its part or was asked to stand down already.")
    return tuple(calling.cancel_request(incident, leg, now, reason=command.reason, by=command.by) for leg in legs)


def _in_progress(incident: Incident) -> bool:
    return incident.tier is Tier.IMMINENT and not incident.contact


def _act_in_progress() -> Rejected:
    return Rejected(
        "act_in_progress",
        "An act is in progress and contact is not confirmed: nobody here may hold the desks back. "
        "Confirm contact first, or tell the desk, which may clear the call-out itself.",
    )


def explain_absence(incident: Incident, command: ExplainAbsence, now: datetime) -> tuple[Event, ...]:
    """Why nobody saw the person; it may be said again in better words, but not against a confirmed contact."""
    if incident.contact:
        raise Rejected("contact_confirmed", "Contact with the person is confirmed: there is no absence to explain.")
    return (AbsenceExplained(case=command.case, city=command.city, at=now, reason=command.reason, by=command.by),)


def close_incident(incident: Incident, command: CloseIncident, now: datetime) -> tuple[Event, ...]:
    """The end, or everything that is missing at once, so that nobody has to find out one by one."""
    gaps = list(closing.closing_gaps(incident))
    if command.outcome not in OUTCOMES:
        gaps.append(closing.unknown_outcome(command.outcome))
    if gaps:
        raise Rejected("cannot_close", "; ".join(gap.en for gap in gaps))
    return (IncidentClosed(case=command.case, city=command.city, at=now, outcome=command.outcome, by=command.by),)
