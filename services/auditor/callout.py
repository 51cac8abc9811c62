"""One desk in the account of an escalation: how far its call-out has come, and whose turn it is."""

from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.audit import Turn
from shared.contract.callouts import (
    CallOutAccepted,
    CallOutCancelAsked,
    CallOutEvent,
    CallOutHeld,
    CallOutReleased,
    CallOutTaken,
    CallOutUnreachable,
    Report,
)
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, Purpose
from shared.contract.terms import ACCEPTED, Rung

MACHINE = frozenset({Turn.REQUESTED})
"""What the machine owes within seconds; silence here is a finding."""

HUMAN = frozenset({Turn.TASK, Turn.DELIVERED, Turn.RINGING, Turn.HELD, Turn.REJECTED})
"""A person is asked: one at the desk to accept, or one of ours to phone or to correct."""

WATCHED = frozenset({Turn.REQUESTED, Turn.TASK, Turn.DELIVERED, Turn.RINGING, Turn.HELD})
"""Turns in which the ledger must have the case."""


@dataclass(frozen=True)
class Ring:
    """What the ledger said of one desk: since when it rings, who phones, who settled it and under which number."""

    since: datetime
    claimed_by: str | None = None
    settled_by: str | None = None
    settled_at: datetime | None = None
    event_no: str | None = None


@dataclass(frozen=True)
class AuditedCallOut:
    """`case/desk/n` as far as Kafka tells. Topics come in any order: each field stands as soon as it was said."""

    desk: str
    n: int
    acts: bool = True
    ordered_at: datetime | None = None
    wire: str | None = None
    taken_at: datetime | None = None
    delivered_at: datetime | None = None
    accepted_at: datetime | None = None
    event_no: str | None = None
    by: str | None = None
    held_by: str | None = None
    stand_down_at: datetime | None = None
    unreachable: str | None = None
    ended: Rung | None = None
    ended_at: datetime | None = None
    code: str | None = None

    def turn(self, ring: Ring | None) -> Turn:
        if self.ended is Rung.REJECTED:
            return Turn.REJECTED
        if self.ended is not None:
            return Turn.CLEARED if self.ended is Rung.CLEARED else Turn.STOOD_DOWN
        if self.accepted_at is not None:
            return Turn.ACCEPTED
        if ring is not None and ring.settled_by is not None:
            return Turn.SETTLED
        if self.stand_down_at is not None:
            return Turn.STOOD_DOWN
        return self._awaited(ring)

    def _awaited(self, ring: Ring | None) -> Turn:
        if self.held_by is not None or (ring is not None and ring.claimed_by is not None):
            return Turn.HELD
        if ring is not None:
            return Turn.RINGING
        if self.wire == "phone" or not self.acts:
            return Turn.TASK
        return Turn.REQUESTED if self.delivered_at is None else Turn.DELIVERED


def evolve(callout: AuditedCallOut, event: Event) -> AuditedCallOut:
    """The call-out after `event`, whichever service said it."""
    match event:
        case CallOutOrdered():
            return replace(callout, ordered_at=event.at, acts=event.purpose is Purpose.ACT)
        case CallOutCancelRequested() | CallOutCancelAsked():
            return replace(callout, stand_down_at=callout.stand_down_at or event.at)
        case Report():
            return _reported(callout, event)
        case CallOutEvent():
            return _sent(callout, event)
    return callout


def _sent(callout: AuditedCallOut, event: CallOutEvent) -> AuditedCallOut:
    match event:
        case CallOutTaken():
            return replace(callout, taken_at=callout.taken_at or event.at, wire=event.wire)
        case CallOutHeld():
            return replace(callout, held_by=event.by)
        case CallOutReleased():
            return replace(callout, held_by=None)
        case CallOutUnreachable():
            return replace(callout, unreachable=event.reason)
    return callout


def _reported(callout: AuditedCallOut, report: Report) -> AuditedCallOut:
    reached = replace(callout, delivered_at=callout.delivered_at or report.at, held_by=None)
    if isinstance(report, CallOutAccepted):
        reached = replace(reached, event_no=callout.event_no or report.event_no, by=report.by)
    if report.rung in ACCEPTED:
        reached = replace(reached, accepted_at=callout.accepted_at or report.at)
    if report.rung in {Rung.REJECTED, Rung.CLEARED, Rung.CANCELLED}:
        code = getattr(report, "code", None)
        return replace(reached, ended=report.rung, ended_at=callout.ended_at or report.at, code=code)
    return reached
