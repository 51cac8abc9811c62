"""An incident's life: the joint response to one person in danger, from the first danger to the closing."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce
from uuid import UUID

from services.dispatch import playbook
from services.dispatch.leg import Leg, evolve_leg, leg_of_order
from shared.contract.event import Event
from shared.contract.incidents import (
    AbsenceExplained,
    CallNoted,
    CallOutCancelRequested,
    CallOutOrdered,
    ContactConfirmed,
    CounsellingChanged,
    CounsellingState,
    FollowUpNoted,
    IncidentClosed,
    IncidentOpened,
    IncidentRaised,
    LegChanged,
    LegOverdue,
    PlaceMoved,
)
from shared.contract.terms import Confidence, Place, Rung, Situation, Tier

NOTHING_KNOWN = Situation()


class IncidentStatus(StrEnum):
    """未成立, 处置中, 已结案. `none` is a call about which dispatch knows something, without danger so far."""

    NONE = "none"
    OPEN = "open"
    CLOSED = "closed"


ALLOWED: Mapping[IncidentStatus, Mapping[type[Event], IncidentStatus]] = {
    IncidentStatus.NONE: {
        CallNoted: IncidentStatus.NONE,
        LegChanged: IncidentStatus.NONE,
        IncidentOpened: IncidentStatus.OPEN,
    },
    IncidentStatus.OPEN: {
        IncidentRaised: IncidentStatus.OPEN,
        PlaceMoved: IncidentStatus.OPEN,
        CallOutOrdered: IncidentStatus.OPEN,
        CallOutCancelRequested: IncidentStatus.OPEN,
        LegChanged: IncidentStatus.OPEN,
        LegOverdue: IncidentStatus.OPEN,
        CounsellingChanged: IncidentStatus.OPEN,
        ContactConfirmed: IncidentStatus.OPEN,
        AbsenceExplained: IncidentStatus.OPEN,
        FollowUpNoted: IncidentStatus.OPEN,
        IncidentClosed: IncidentStatus.CLOSED,
    },
    # New danger after the closing opens the same incident again: no decision of ours withholds help.
    IncidentStatus.CLOSED: {IncidentOpened: IncidentStatus.OPEN},
}


@dataclass(frozen=True)
class Incident:
    """联动事件. `city` is the line's; `read_back` the last place confirmed with the caller, the only one that routes.

    `danger_at` is when danger last asked for desks: a wish to stand down that is older is out of date.
    `early` has what desks said of call-outs that were not ordered yet: a person phoned before we could.
    """

    case: UUID | None = None
    city: str = ""
    status: IncidentStatus = IncidentStatus.NONE
    tier: Tier | None = None
    reasons: tuple[str, ...] = ()
    situation: Situation = NOTHING_KNOWN
    read_back: Place | None = None
    opened_at: datetime | None = None
    danger_at: datetime | None = None
    moved_at: datetime | None = None
    legs: tuple[Leg, ...] = ()
    early: tuple[LegChanged, ...] = ()
    counselling: CounsellingState = CounsellingState.ABSENT
    contact_by: str | None = None
    absence: str | None = None
    follow_up: bool = False
    outcome: str | None = None

    @property
    def current(self) -> tuple[Leg, ...]:
        """The legs of this response, without those of one that was closed before."""
        return tuple(leg for leg in self.legs if self.opened_at is not None and leg.ordered_at >= self.opened_at)

    @property
    def at_work(self) -> tuple[Leg, ...]:
        """The legs on which a desk that was asked to act still owes something."""
        return tuple(leg for leg in self.legs if leg.acts and leg.open)

    @property
    def contact(self) -> bool:
        """Whether somebody has made sure of the person: a desk at the scene, or one of us."""
        return self.contact_by is not None or any(Rung.CONTACT in leg.reached for leg in self.current)

    @property
    def placed(self) -> bool:
        """Whether there is, or was, a place to send somebody to."""
        return playbook.is_known(self.situation.place) or self.read_back is not None

    def leg(self, desk: str, n: int) -> Leg | None:
        return next((leg for leg in self.legs if (leg.desk, leg.n) == (desk, n)), None)

    def said_early(self, desk: str, n: int) -> tuple[LegChanged, ...]:
        """What the desk said of that call-out before it was ordered."""
        return tuple(said for said in self.early if (said.desk, said.n) == (desk, n))

    def last(self, desk: str) -> Leg | None:
        return max((leg for leg in self.legs if leg.desk == desk and leg.acts), key=lambda leg: leg.n, default=None)

    def of_kind(self, kind: str) -> tuple[Leg, ...]:
        """The legs of this response with that kind of desk, warnings included, in the order they began."""
        return tuple(leg for leg in self.current if leg.kind == kind)

    def left_behind(self, leg: Leg, city: str) -> bool:
        """Whether the person has moved away from this desk's city to `city` since it was called out."""
        return self.moved_at is not None and leg.ordered_at < self.moved_at and leg.city != city


def evolve(incident: Incident, event: Event) -> Incident:
    """The incident after `event`. An event the table does not allow is a bug, hence KeyError."""
    incident = replace(incident, status=ALLOWED[incident.status][type(event)], case=event.case, city=event.city)
    match event:
        case CallOutOrdered():
            leg = reduce(evolve_leg, incident.said_early(event.desk, event.n), leg_of_order(event))
            return replace(incident, legs=(*incident.legs, leg))
        case LegChanged() if incident.leg(event.desk, event.n) is None:
            return replace(incident, early=(*incident.early, event))
        case CallOutCancelRequested() | LegChanged() | LegOverdue():
            key = (event.desk, event.n)
            return replace(
                incident,
                legs=tuple(evolve_leg(leg, event) if (leg.desk, leg.n) == key else leg for leg in incident.legs),
            )
        case CallNoted() | PlaceMoved() | CounsellingChanged() | FollowUpNoted():
            return _told(incident, event)
    return _decided(incident, event)


def _told(incident: Incident, event: Event) -> Incident:
    match event:
        case CallNoted():
            noted = incident if event.place is None else _placed(incident, event.place)
            return replace(
                noted,
                counselling=event.counselling or incident.counselling,
                follow_up=event.follow_up or incident.follow_up,
            )
        case PlaceMoved():
            after = _placed(incident, event.place)
            if after.read_back is None or after.read_back.city == (incident.read_back or Place(city=event.city)).city:
                return after
            return replace(after, moved_at=event.at)
        case CounsellingChanged():
            return replace(incident, counselling=event.state)
    return replace(incident, follow_up=True)


def _decided(incident: Incident, event: Event) -> Incident:
    match event:
        case IncidentOpened():
            return replace(
                _joined(incident, event),
                opened_at=event.at,
                danger_at=event.at,
                moved_at=None,
                counselling=_counselling(incident, event.situation),
                contact_by=None,
                absence=None,
                outcome=None,
            )
        case IncidentRaised():
            joined = _joined(incident, event)
            danger = event.by is not None or (joined.tier, joined.reasons) != (incident.tier, incident.reasons)
            return replace(joined, danger_at=event.at) if danger else joined
        case ContactConfirmed():
            return replace(incident, contact_by=event.by)
        case AbsenceExplained():
            return replace(incident, absence=event.reason)
        case IncidentClosed():
            return replace(incident, outcome=event.outcome)
    return incident


def _joined(incident: Incident, event: IncidentOpened | IncidentRaised) -> Incident:
    joined = replace(incident, tier=event.tier, reasons=event.reasons, situation=event.situation)
    return _placed(joined, event.situation.place)


def _placed(incident: Incident, place: Place) -> Incident:
    situation = incident.situation.model_copy(update={"place": place})
    return replace(
        incident, situation=situation, read_back=place if playbook.routes_callouts(place) else incident.read_back
    )


def _counselling(incident: Incident, situation: Situation) -> CounsellingState:
    if incident.counselling in {CounsellingState.ENDED, CounsellingState.LOST}:
        return incident.counselling
    return CounsellingState.ON_LINE if situation.counsellor else CounsellingState.ABSENT


def noted_place(incident: Incident) -> Place | None:
    """The place dispatch heard of before the danger, if any."""
    place = incident.situation.place
    return None if place.confidence is Confidence.UNKNOWN else place
