"""One desk's part of the joint response: the rung it has reached, and what it owes by when."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.contract.city import Clocks
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, LegChanged, LegOverdue, Purpose
from shared.contract.terms import ACCEPTED, ENDED, LADDER, Rung, desk_city, desk_kind

NEXT: Mapping[Rung, tuple[Rung, str]] = {
    Rung.ACCEPTED: (Rung.ASSIGNED, "assign"),
    Rung.ASSIGNED: (Rung.EN_ROUTE, "roll"),
    Rung.EN_ROUTE: (Rung.ARRIVED, "arrive"),
    Rung.ARRIVED: (Rung.CONTACT, "contact"),
}
"""What a desk that reports by itself owes after each rung, and the city's clock for it, counted from that rung."""

CALL_BACKS = (Rung.EN_ROUTE, Rung.ARRIVED, Rung.CONTACT)
"""What a person asks a phone desk at its first, second and third call-back. One that is there already is not asked."""


@dataclass(frozen=True)
class Leg:
    """处置线: one desk and one `n`. `reached` has the time dispatch took note of each rung."""

    desk: str
    n: int
    purpose: Purpose
    ordered_at: datetime
    accept_by: datetime
    number: str | None = None
    rung: Rung = Rung.REQUESTED
    reached: dict[Rung, datetime] = field(default_factory=dict)
    officer: str | None = None
    event_no: str | None = None
    code: str | None = None
    cancel_by: str | None = None
    cancel_at: datetime | None = None
    cancel_reason: str | None = None
    overdue: tuple[Rung, ...] = ()

    @property
    def kind(self) -> str:
        return desk_kind(self.desk)

    @property
    def city(self) -> str:
        return desk_city(self.desk)

    @property
    def acts(self) -> bool:
        """Whether the desk was asked to act, not only warned."""
        return self.purpose is Purpose.ACT

    @property
    def open(self) -> bool:
        """Whether the desk still owes something on this call-out."""
        return self.rung not in ENDED


def leg_of_order(event: CallOutOrdered) -> Leg:
    return Leg(
        desk=event.desk,
        n=event.n,
        purpose=event.purpose,
        ordered_at=event.at,
        accept_by=event.accept_by,
        number=event.number,
        reached={Rung.REQUESTED: event.at},
    )


def moves_up(leg: Leg, rung: Rung) -> bool:
    """Whether a report moves the leg: upwards only. A person given up as not found may still be found."""
    return LADDER[rung] > LADDER[leg.rung] or (leg.rung is Rung.NOT_FOUND and rung is Rung.CONTACT)


def evolve_leg(leg: Leg, event: Event) -> Leg:
    match event:
        case LegChanged():
            return replace(
                leg,
                rung=event.rung,
                reached={event.rung: event.at, **leg.reached},
                officer=event.officer or leg.officer,
                event_no=event.event_no or leg.event_no,
                code=event.code or leg.code if event.rung is leg.rung else event.code,
            )
        case CallOutCancelRequested():
            return replace(leg, cancel_by=event.by, cancel_at=event.at, cancel_reason=event.reason)
        case LegOverdue():
            return replace(leg, overdue=(*leg.overdue, event.rung))
    return leg


def owed_rungs(leg: Leg, clocks: Clocks, *, by_phone: bool) -> Iterator[tuple[Rung, datetime]]:
    """The rungs the desk still owes, each with its moment. A desk asked to stand down owes none."""
    if not leg.open or leg.cancel_by is not None:
        return
    for rung, due in _expected(leg, clocks, by_phone=by_phone):
        if rung not in leg.overdue:
            yield rung, due


def _expected(leg: Leg, clocks: Clocks, *, by_phone: bool) -> Iterator[tuple[Rung, datetime]]:
    if leg.rung not in ACCEPTED:
        yield Rung.ACCEPTED, leg.accept_by
    elif leg.acts and by_phone:
        accepted_at = min(at for rung, at in leg.reached.items() if rung in ACCEPTED)
        for rung, seconds in zip(CALL_BACKS, clocks.phone_call_back, strict=False):
            if LADDER[rung] > LADDER[leg.rung]:
                yield rung, accepted_at + timedelta(seconds=seconds)
    elif leg.acts and leg.rung in NEXT:
        rung, clock = NEXT[leg.rung]
        yield rung, leg.reached[leg.rung] + timedelta(seconds=getattr(clocks, clock))
