"""What intake's ledger and the adapter say of the people in danger, beside what Kafka tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from services.auditor.account import Account

AWAITED, RINGING, CLAIMED = "awaited", "ringing", "claimed"
OPEN = frozenset({AWAITED, RINGING, CLAIMED})
"""Phases of a desk in the ledger in which nobody is known to come from it."""


class PeerAnswer(BaseModel):
    """An answer of another service; what it says beyond this is not ours to know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LedgerDesk(PeerAnswer):
    """One desk of a ledger row. `due_at` is when its silence is an alarm, or its claim lapses."""

    desk: str
    phase: str
    since: datetime
    due_at: datetime | None = None


class LedgerRow(PeerAnswer):
    """One standing row of the ledger. `due_at` is the row's own moment while a cry for help has had no answer."""

    case: UUID
    city: str
    spoken_number: str
    drill: bool = False
    armed_at: datetime | None = None
    due_at: datetime | None = None
    desks: tuple[LedgerDesk, ...] = ()

    def phase(self, desk: str | None) -> str | None:
        """How far the ledger is with that desk."""
        return next((one.phase for one in self.desks if one.desk == desk), None)

    @property
    def rings(self) -> bool:
        """Whether a person was told of it."""
        return any(one.phase in {RINGING, CLAIMED} for one in self.desks)


class LedgerSnapshot(PeerAnswer):
    """Every standing row; `from_memory` while intake's store does not answer."""

    rows: tuple[LedgerRow, ...] = ()
    from_memory: bool = False


class OpenCallOut(PeerAnswer):
    """A call-out that nobody at the desk has yet, as the adapter keeps it."""

    case: UUID
    city: str
    desk: str
    n: int
    wire: str | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Snapshots:
    """Three views of the same people. None: that one is out of date, and nothing may be concluded from it.

    `whole_since` is when Kafka was last read to its end again after a silence: what it lacks counts from then on.
    """

    accounts: Mapping[UUID, Account] | None
    ledger: LedgerSnapshot | None
    callouts: tuple[OpenCallOut, ...] | None
    whole_since: datetime
    silent: Mapping[str, datetime] = field(default_factory=dict)
