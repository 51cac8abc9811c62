"""Whom an incident calls out, under which `n`, and which desk is released when the person is somewhere else."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from services.dispatch import playbook
from services.dispatch.incident import Incident
from services.dispatch.leg import Leg
from services.dispatch.playbook import CalledDesk
from shared.contract.city import Cities
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, Purpose
from shared.contract.terms import ACCEPTED, ENDED, Rung, desk_kind


def target_city(cities: Cities, incident: Incident) -> playbook.TargetCity:
    return playbook.choose_city(cities, incident.city, incident.read_back)


def order_to_act(cities: Cities, incident: Incident, callee: CalledDesk, now: datetime) -> CallOutOrdered:
    """The next call-out of that desk: `n` is one more than its last, or 1."""
    last = incident.last(callee.desk)
    within = playbook.accept_within(cities, callee.desk, incident.city)
    return _ordered(incident, callee, now, within).model_copy(update={"n": last.n + 1 if last else 1})


def order_to_warn(cities: Cities, incident: Incident, callee: CalledDesk, now: datetime) -> CallOutOrdered:
    """A warning by voice, which has a phone call's time whatever wire the desk has."""
    within = cities.desk_clocks(callee.desk, incident.city).claim
    return _ordered(incident, callee, now, within).model_copy(update={"purpose": Purpose.WARN})


def _ordered(incident: Incident, callee: CalledDesk, now: datetime, within: float) -> CallOutOrdered:
    assert incident.case is not None
    return CallOutOrdered(
        case=incident.case,
        city=incident.city,
        at=now,
        desk=callee.desk,
        n=0,
        tier=incident.tier,
        reasons=incident.reasons,
        situation=incident.situation,
        accept_by=now + timedelta(seconds=within),
        number=callee.number,
    )


def missing_orders(
    cities: Cities, incident: Incident, kinds: Iterable[str], now: datetime, again: frozenset[Rung]
) -> tuple[CallOutOrdered, ...]:
    """Who is called out so that a desk of each kind is at work where the person is.

    A desk whose last call-out ended on a rung in `again` is called out anew; on any other rung a person decides.
    """
    wanted = (_order(cities, incident, kind, now, again) for kind in kinds)
    return tuple(order for order in wanted if order is not None)


def _order(
    cities: Cities, incident: Incident, kind: str, now: datetime, again: frozenset[Rung]
) -> CallOutOrdered | None:
    here = target_city(cities, incident)
    callee = playbook.choose_desk(cities, here, kind)
    if kind in playbook.NEEDS_PLACE and not incident.placed:
        called = incident.of_kind(kind) or incident.leg(callee.desk, 0)
        return None if called else order_to_warn(cities, incident, callee, now)
    if any(leg.kind == kind and not incident.left_behind(leg, here.city) for leg in incident.at_work):
        return None
    last = incident.last(callee.desk)
    return order_to_act(cities, incident, callee, now) if last is None or last.rung in again else None


def where_it_is_now(cities: Cities, incident: Incident, now: datetime) -> tuple[Event, ...]:
    """After a new place: desks that now have somewhere to go, and, where the person is in another city, its desks."""
    here = target_city(cities, incident)
    moved = incident.moved_at == now and incident.read_back is not None and incident.read_back.city == here.city
    # A warning is given once for all: it still asks for its kind when the incident has been opened again.
    latest = {leg.kind: leg for leg in incident.legs if leg in incident.current or not leg.acts}
    kinds = (kind for kind, leg in latest.items() if not _done(incident, leg))
    return missing_orders(cities, incident, kinds, now, ENDED if moved else frozenset())


def _done(incident: Incident, last: Leg) -> bool:
    """Whether a new place asks nothing of this kind: a person stood it down since, or it finished after contact."""
    by_hand = last.cancel_at is not None and last.cancel_by != playbook.PLAYBOOK
    stood_down = by_hand and not _outdated(incident, last)
    return stood_down or (last.rung is Rung.CLEARED and incident.contact)


def _outdated(incident: Incident, leg: Leg) -> bool:
    """Whether danger asked for desks since this one was asked to stand down; or a move, if a move asked it."""
    moments = (incident.danger_at, incident.moved_at if leg.cancel_by == playbook.PLAYBOOK else None)
    return leg.cancel_at is not None and any(moment and leg.cancel_at < moment for moment in moments)


def release_left_behind(cities: Cities, incident: Incident, now: datetime) -> tuple[CallOutCancelRequested, ...]:
    """Desks left behind in another city are let go once a desk of their kind here has accepted, never before."""
    here = target_city(cities, incident)
    held = {leg.kind for leg in incident.current if _holds(incident, leg, here.city)}
    return tuple(
        cancel_request(incident, leg, now, reason=playbook.PLACE_MOVED, by=playbook.PLAYBOOK)
        for leg in incident.at_work
        if leg.kind in held and leg.cancel_by is None and incident.left_behind(leg, here.city)
    )


def _holds(incident: Incident, leg: Leg, city: str) -> bool:
    return (
        leg.acts and leg.city == city and leg == incident.last(leg.desk) and leg.rung in ACCEPTED and not leg.cancel_by
    )


def call_back(cities: Cities, incident: Incident, leg: Leg, now: datetime) -> tuple[CallOutOrdered, ...]:
    """A desk that agreed to stand down after danger or a move had asked for it anew is called out again."""
    if leg.rung is not Rung.CANCELLED or not _outdated(incident, leg) or leg.city != target_city(cities, incident).city:
        return ()
    return missing_orders(cities, incident, [desk_kind(leg.desk)], now, frozenset({Rung.CANCELLED}))


def cancel_request(incident: Incident, leg: Leg, now: datetime, *, reason: str, by: str) -> CallOutCancelRequested:
    assert incident.case is not None
    return CallOutCancelRequested(
        case=incident.case, city=incident.city, at=now, desk=leg.desk, n=leg.n, reason=reason, by=by
    )
