"""核对账: every escalation with its fate, folded from what was said on Kafka, in whatever order the topics came."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.auditor import callout
from services.auditor.callout import HUMAN, MACHINE, WATCHED, AuditedCallOut, Ring
from shared.contract.audit import MACHINE_WITHIN, Fate, Turn
from shared.contract.callouts import CallOutEvent
from shared.contract.calls import (
    AlarmClaimed,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    DeskConfirmed,
    EscalationRequested,
    RescueAwaited,
    ScreeningRecorded,
    WatchCleared,
)
from shared.contract.event import Event
from shared.contract.incidents import DeskEvent, IncidentClosed, IncidentOpened, IncidentRaised
from shared.contract.risk import RiskAssessed


class Cry(StrEnum):
    """Who must answer a cry for help: saved danger wants an assessment, the others want dispatch."""

    DANGER = "danger"
    ASSESSED = "assessed"
    BY_HAND = "by_hand"


class MissingRung(StrEnum):
    """The machine rung that is not there."""

    UNASSESSED = "unassessed"
    UNORDERED = "unordered"
    UNTAKEN = "untaken"
    UNDELIVERED = "undelivered"


@dataclass(frozen=True)
class OwedRung:
    """One machine rung that is owed, by whom for which desk, and since when. No desk: nobody was called out at all."""

    missing: MissingRung
    since: datetime
    desk: str | None = None
    n: int = 0


@dataclass(frozen=True)
class Raised:
    """One cry for help."""

    cry: Cry
    at: datetime


@dataclass(frozen=True)
class Account:
    """One case. `raised` by what an answer names: the screening for saved danger, the event's id for the others."""

    case: UUID
    city: str
    drill: bool = False
    tier: str | None = None
    by: str | None = None
    raised: Mapping[UUID, Raised] = field(default_factory=dict)
    answered: frozenset[UUID] = frozenset()
    expected: Mapping[str, datetime] = field(default_factory=dict)
    callouts: Mapping[tuple[str, int], AuditedCallOut] = field(default_factory=dict)
    rings: Mapping[str, Ring] = field(default_factory=dict)
    closed_at: datetime | None = None
    last_at: datetime | None = None
    known: frozenset[str] = frozenset()

    @property
    def raised_at(self) -> datetime | None:
        """When help was first called for; None where only later news came within our sight."""
        return min((cry.at for cry in self.raised.values()), default=None)

    @property
    def unanswered(self) -> tuple[Raised, ...]:
        """Cries for help that nobody has answered."""
        return tuple(cry for name, cry in self.raised.items() if name not in self.answered)

    @property
    def latest(self) -> tuple[AuditedCallOut, ...]:
        newest: dict[str, AuditedCallOut] = {}
        for (desk, n), one in sorted(self.callouts.items()):
            newest[desk] = one if n or desk not in newest else newest[desk]
        return tuple(newest.values())

    @property
    def turns(self) -> dict[str, Turn]:
        """Whose turn it is with each desk that was asked to act."""
        return {one.desk: one.turn(self.rings.get(one.desk)) for one in self.latest if one.acts}

    @property
    def stands(self) -> bool:
        """Whether somebody is still waited for, so that the ledger must have it."""
        return bool(self.unanswered) or any(turn in WATCHED for turn in self.turns.values())

    def told(self, cry: Raised) -> bool:
        """Whether a human was told of this cry: something rings or is being phoned, or was settled since."""
        return any(ring.settled_at is None or ring.settled_at >= cry.at for ring in self.rings.values())


def evolve(account: Account, event: Event, event_id: str, cause: UUID | None) -> Account:
    """The account after `event`; the same event again changes nothing. `cause` is the id of what it answers."""
    if event_id in account.known:
        return account
    last = max(account.last_at, event.at) if account.last_at else event.at
    account = replace(account, known=account.known | {event_id}, last_at=last)
    match event:
        case ScreeningRecorded() | EscalationRequested() | RiskAssessed():
            return _raised(account, event, UUID(event_id))
        case IncidentOpened() | IncidentRaised() | IncidentClosed():
            return _dispatched(account, event, cause)
        case DeskEvent() | CallOutEvent():
            one = account.callouts.get((event.desk, event.n)) or AuditedCallOut(event.desk, event.n)
            return replace(account, callouts={**account.callouts, (event.desk, event.n): callout.evolve(one, event)})
    return _rung(account, event)


def _raised(account: Account, event: Event, name: UUID) -> Account:
    match event:
        case ScreeningRecorded(danger=True):
            return replace(account, raised={**account.raised, event.screening: Raised(Cry.DANGER, event.at)})
        case EscalationRequested():
            raised = {**account.raised, name: Raised(Cry.BY_HAND, event.at)}
            return replace(account, raised=raised, by=account.by or event.by)
        case RiskAssessed():
            cries = {name: Raised(Cry.ASSESSED, event.at)} if event.dispatch_now else {}
            answered = account.answered | {event.screening}
            return replace(account, raised={**account.raised, **cries}, answered=answered, tier=event.tier)
    return account


def _dispatched(account: Account, event: Event, cause: UUID | None) -> Account:
    if isinstance(event, IncidentClosed):
        return replace(account, closed_at=event.at)
    answered = account.answered | {cause} if cause else account.answered
    desks = event.desks if isinstance(event, IncidentOpened) else ()
    return replace(
        account, answered=answered, expected={**account.expected, **dict.fromkeys(desks, event.at)}, closed_at=None
    )


def _rung(account: Account, event: Event) -> Account:
    rings = dict(account.rings)
    match event:
        case AlarmRaised():
            rings |= {desk: Ring(event.at) for desk in event.desks if desk not in rings or rings[desk].settled_by}
        case AlarmClaimed() | AlarmReleased():
            by = event.by if isinstance(event, AlarmClaimed) else None
            rings[event.desk] = replace(rings.get(event.desk) or Ring(event.at), claimed_by=by)
        case AlarmSettled():
            known = rings.get(event.desk) or Ring(event.at)
            rings[event.desk] = replace(
                known, claimed_by=None, settled_by=event.by, settled_at=event.at, event_no=event.event_no
            )
        case DeskConfirmed():
            rings.pop(event.desk, None)
        case RescueAwaited():
            rings = {desk: ring for desk, ring in rings.items() if desk not in event.desks or not ring.settled_by}
        case WatchCleared():
            rings = {desk: ring for desk, ring in rings.items() if any(key[0] == desk for key in account.callouts)}
    return replace(account, rings=rings)


def owed_rungs(account: Account) -> tuple[OwedRung, ...]:
    """The machine rungs that are owed now, however short. A cry that made something ring is a person's turn."""
    cries = tuple(cry for cry in account.unanswered if not account.told(cry))
    named = {
        Cry.DANGER: MissingRung.UNASSESSED,
        Cry.ASSESSED: MissingRung.UNORDERED,
        Cry.BY_HAND: MissingRung.UNORDERED,
    }
    ordered = {desk for desk, _ in account.callouts}
    unordered = (
        OwedRung(MissingRung.UNORDERED, at, desk)
        for desk, at in account.expected.items()
        if desk not in ordered and desk not in account.rings
    )
    sent = (
        OwedRung(MissingRung.UNDELIVERED if one.taken_at else MissingRung.UNTAKEN, one.ordered_at, one.desk, one.n)
        for one in account.latest
        if one.ordered_at is not None and one.acts and one.turn(account.rings.get(one.desk)) in MACHINE
    )
    return (*(OwedRung(named[cry.cry], cry.at) for cry in cries), *unordered, *sent)


def fate_of(account: Account, now: datetime) -> Fate:
    owed = owed_rungs(account)
    if any(gap.since + MACHINE_WITHIN <= now for gap in owed):
        return Fate.UNACCOUNTED
    if owed:
        return Fate.UNDER_WAY
    if account.closed_at is not None:
        return Fate.CLOSED
    turns = set(account.turns.values())
    if account.unanswered or turns & HUMAN or (account.rings and not turns):
        return Fate.WITH_PEOPLE
    if not turns:
        return Fate.NOT_NEEDED
    return Fate.STOOD_DOWN if turns == {Turn.STOOD_DOWN} else Fate.ACCEPTED
