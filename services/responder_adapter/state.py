"""出警单: all that is known of one desk asked to act, how it may change, and what each event writes on it."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.responder_adapter.retry_schedule import NOT_RECEIVED, NOT_SENT, wait_before
from services.responder_adapter.status import ALLOWED, CallOutStatus
from shared.contract.callouts import (
    CallOutAssigned,
    CallOutCancelAsked,
    CallOutCancelDelivered,
    CallOutEvent,
    CallOutFailed,
    CallOutHeld,
    CallOutInquired,
    CallOutRecovered,
    CallOutReleased,
    CallOutRetried,
    CallOutTaken,
    CallOutUncertain,
    CallOutUnreachable,
    Report,
    ReportDisputed,
    past_abilities,
)
from shared.contract.city import WireAbilities
from shared.contract.event import Event
from shared.contract.incidents import Purpose
from shared.contract.terms import LADDER, Rung, Situation, Tier, callout_key

TOKENS = 1_000_000
"""Tokens of one epoch: after a rebuild the first is epoch · 10⁶ + 1, so none from before is ever as great again."""


@dataclass(frozen=True)
class LadderStep:
    """One thing a desk said, and when we learnt it; `by` took it down if it came by phone."""

    rung: Rung
    at: datetime
    by: str | None = None
    officer: str | None = None
    event_no: str | None = None
    unit: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class CallOut:
    """`attempt` and `token` are those of the newest attempt, `started_at` while it has no outcome yet.

    `on_wire`: the desk's own system has certainly got the order. `perhaps`: it may have. `told`: a person may have
    told them on the phone. `disputes` are kept beside the ladder and never move it. `asking`: since the store was lost
    nobody here knows whether the desk has it, and it is asked before anything is sent; `asked` counts how often.
    """

    status: CallOutStatus = CallOutStatus.UNHEARD
    case: UUID | None = None
    city: str = ""
    desk: str = ""
    n: int = 0
    wire: str | None = None
    abilities: WireAbilities | None = None
    purpose: Purpose = Purpose.ACT
    tier: Tier | None = None
    reasons: tuple[str, ...] = ()
    situation: Situation = field(default_factory=Situation)
    number: str | None = None
    accept_by: datetime | None = None
    taken_at: datetime | None = None
    attempt: int = 0
    token: int = 0
    first_started_at: datetime | None = None
    started_at: datetime | None = None
    next_at: datetime | None = None
    asking: bool = False
    asked: int = 0
    failure: str | None = None
    unreachable: bool = False
    on_wire: bool = False
    perhaps: bool = False
    told: bool = False
    held_by: str | None = None
    held_at: datetime | None = None
    cancel_reason: str | None = None
    cancel_by: str | None = None
    cancel_delivered: bool = False
    rung: Rung = Rung.REQUESTED
    officer: str | None = None
    event_no: str | None = None
    unit: str | None = None
    code: str | None = None
    steps: tuple[LadderStep, ...] = ()
    disputes: tuple[LadderStep, ...] = ()

    @property
    def key(self) -> str:
        """`case/desk/n`."""
        assert self.case is not None
        return callout_key(self.case, self.desk, self.n)

    @property
    def can(self) -> WireAbilities:
        """What its wire could when the order was taken; nothing while it has none."""
        return self.abilities or past_abilities(self.wire)

    @property
    def by_person(self) -> bool:
        """Whether a person carries the order, because its wire sends nothing."""
        return self.wire is not None and not self.can.sends

    @property
    def cancels_by_wire(self) -> bool:
        """Whether a wish to cancel goes the way of the order: only where the desk's own system has it, or may."""
        perhaps = self.perhaps or self.started_at is not None
        return self.can.cancels and (self.on_wire or (perhaps and not self.told))

    def sends(self, token: int) -> bool:
        """Whether the attempt with this token is still the one to make."""
        under_way = self.status in {CallOutStatus.OPEN, CallOutStatus.STANDING_DOWN} and self.started_at is not None
        return under_way and token == self.token

    def forbids(self, token: int) -> bool:
        """Whether another attempt, a person or an answer has come before the attempt with this token could leave.

        What is older than the attempt itself, read while it was being committed, forbids nothing.
        """
        return self.token > token or (self.token == token and not self.sends(token))


def evolve(callout: CallOut, event: Event) -> CallOut:
    """The call-out after `event`. One that the table does not allow is a bug, hence KeyError."""
    assert isinstance(event, CallOutEvent)
    before, status = callout.status, ALLOWED[callout.status][type(event)]
    callout = replace(callout, status=status, case=event.case, city=event.city, desk=event.desk, n=event.n)
    match event:
        case CallOutTaken():
            return _taken(callout, event)
        case CallOutRetried():
            return _started(callout, event.attempt, event.token, event.at)
        case CallOutFailed():
            return evolve_failure(callout, event)
        case CallOutRecovered() | CallOutInquired() | CallOutUncertain():
            return _in_doubt(callout, event)
        case CallOutUnreachable():
            return replace(callout, unreachable=True)
        case CallOutCancelAsked():
            return _cancel_asked(callout, event)
        case CallOutCancelDelivered():
            return replace(_let_go(callout), cancel_delivered=True, started_at=None, next_at=None)
        case Report() | ReportDisputed():
            return _said(callout, event)
    return _held_or_released(callout, event, before)


def _held_or_released(callout: CallOut, event: CallOutEvent, before: CallOutStatus) -> CallOut:
    match event:
        case CallOutHeld():
            return replace(callout, held_by=event.by, held_at=event.at, told=True, asked=0)
        case CallOutReleased():
            due = event.at if before is CallOutStatus.HELD and callout.can.sends else callout.next_at
            return replace(_let_go(callout), next_at=due)
    return callout


def _taken(callout: CallOut, event: CallOutTaken) -> CallOut:
    taken = replace(
        callout,
        wire=event.wire,
        abilities=event.abilities,
        purpose=event.purpose,
        tier=event.tier,
        reasons=event.reasons,
        situation=event.situation,
        number=event.number,
        accept_by=event.accept_by,
        taken_at=event.at,
    )
    return _started(taken, 1, event.token, event.at) if event.token else taken


def _started(callout: CallOut, attempt: int, token: int, at: datetime) -> CallOut:
    first = callout.first_started_at or at
    return replace(callout, attempt=attempt, token=token, started_at=at, next_at=None, first_started_at=first)


def _in_doubt(callout: CallOut, event: CallOutRecovered | CallOutInquired | CallOutUncertain) -> CallOut:
    match event:
        case CallOutRecovered():
            return _recovered(callout, event)
        case CallOutInquired():
            return replace(_started(callout, callout.attempt, event.token, event.at), asked=callout.asked + 1)
    return replace(callout, asking=False, started_at=None, next_at=None, held_at=event.at)


def _recovered(callout: CallOut, event: CallOutRecovered) -> CallOut:
    """A hold lasts anew; an attempt without an outcome is in doubt, a wish to cancel is simply said again."""
    callout = replace(callout, token=max(callout.token, event.epoch * TOKENS), asked=0)
    if callout.held_at is not None:
        return replace(callout, held_at=event.at)
    if callout.started_at is None:
        return callout
    asking = callout.status is CallOutStatus.OPEN
    return replace(callout, asking=asking, perhaps=True, started_at=None, next_at=event.at)


def evolve_failure(callout: CallOut, event: CallOutFailed) -> CallOut:
    waiting = wait_before((callout.asked if callout.asking else event.attempt) + 1, callout.key)
    return replace(
        callout,
        started_at=None,
        next_at=event.at if event.reason == NOT_RECEIVED else event.at + waiting,
        asking=callout.asking and event.reason != NOT_RECEIVED,
        failure=event.reason,
        perhaps=callout.perhaps or event.reason not in NOT_SENT,
    )


def _cancel_asked(callout: CallOut, event: CallOutCancelAsked) -> CallOut:
    asked = replace(callout, cancel_reason=event.reason, cancel_by=event.by, asking=False)
    if callout.cancels_by_wire:
        return _started(asked, 1, callout.token + 1, event.at)
    return replace(asked, started_at=None, next_at=None)


def _said(callout: CallOut, event: Report | ReportDisputed) -> CallOut:
    if isinstance(event, ReportDisputed):
        kept = LadderStep(event.rung_said, event.at, event.by, event_no=event.event_no, code=event.code)
        return replace(callout, disputes=(*callout.disputes, kept))
    step = LadderStep(
        event.rung,
        event.at,
        event.by,
        event.officer,
        getattr(event, "event_no", None),
        event.unit if isinstance(event, CallOutAssigned) else None,
        getattr(event, "code", None),
    )
    said = replace(
        callout,
        rung=max(callout.rung, event.rung, key=LADDER.__getitem__),
        officer=callout.officer or step.officer,
        event_no=callout.event_no or step.event_no,
        unit=step.unit or callout.unit,
        code=step.code or callout.code,
        steps=(*callout.steps, step),
        on_wire=callout.on_wire or event.by is None,
        told=callout.told or event.by is not None,
    )
    if said.status is CallOutStatus.STANDING_DOWN:
        return said
    return replace(said, held_by=None, held_at=None, started_at=None, next_at=None, asking=False)


def _let_go(callout: CallOut) -> CallOut:
    return replace(callout, held_by=None, held_at=None)
