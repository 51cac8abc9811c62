"""核对: what became of every escalation, as the auditor publishes it and the command prints it."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contract.ledger import LedgerSnapshot

MACHINE_WITHIN = timedelta(seconds=10)
"""What the machine owes a person in danger is done by then, or it is a finding (design §5)."""


class Fate(StrEnum):
    """去向: what became of one escalation. Exactly one holds at any moment."""

    UNACCOUNTED = "unaccounted"
    UNDER_WAY = "under_way"
    CLOSED = "closed"
    NOT_NEEDED = "not_needed"
    WITH_PEOPLE = "with_people"
    STOOD_DOWN = "stood_down"
    ACCEPTED = "accepted"


class Turn(StrEnum):
    """Whose turn it is with one desk: the machine's (requested), a person's, or nobody's any more."""

    REQUESTED = "requested"
    TASK = "task"
    DELIVERED = "delivered"
    RINGING = "ringing"
    HELD = "held"
    REJECTED = "rejected"
    ACCEPTED = "accepted"
    SETTLED = "settled"
    STOOD_DOWN = "stood_down"
    CLEARED = "cleared"


class DeskLine(BaseModel):
    """One call-out of the escalation, with the moments that count."""

    model_config = ConfigDict(frozen=True)

    desk: str
    n: int = 0
    acts: bool = True
    turn: Turn
    ordered_at: datetime | None = None
    delivered_at: datetime | None = None
    accepted_at: datetime | None = None
    settled_at: datetime | None = None
    rung_at: datetime | None = None
    stand_down_at: datetime | None = None
    ended_at: datetime | None = None
    event_no: str | None = None
    by: str | None = None
    code: str | None = None


class EscalationLine(BaseModel):
    """One escalation."""

    model_config = ConfigDict(frozen=True)

    case: UUID
    city: str
    spoken_number: str
    raised_at: datetime
    tier: str | None = None
    by: str | None = None
    fate: Fate
    desks: tuple[DeskLine, ...] = ()


class FindingView(BaseModel):
    """One difference."""

    model_config = ConfigDict(frozen=True)

    what: str
    case: UUID | None
    desk: str | None
    alarm: bool


class AccountsView(BaseModel):
    """All that the auditor has in memory; `silent` names the sources that do not answer it."""

    model_config = ConfigDict(frozen=True)

    lines: tuple[EscalationLine, ...]
    ledger: LedgerSnapshot
    findings: tuple[FindingView, ...]
    silent: tuple[str, ...]
    drills: int
