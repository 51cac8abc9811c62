"""台账: the rows of intake's ledger as it shows them to the auditor; without personal data."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Phase(StrEnum):
    """How far the ledger is with one desk."""

    # A reader that does not know a phase cannot read the ledger: a new one is rolled out to the auditor first.
    AWAITED = "awaited"
    RINGING = "ringing"
    CLAIMED = "claimed"
    SETTLED = "settled"
    CONFIRMED = "confirmed"


OPEN = frozenset({Phase.AWAITED, Phase.RINGING, Phase.CLAIMED})
"""Phases in which nobody is known to come from this desk."""

ALARMING = frozenset({Phase.RINGING, Phase.CLAIMED})
"""Phases shown in the list of alarms."""


class LedgerPart(BaseModel):
    """What intake says beyond this is not ours to know, and what an older one does not say is left open."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class WatchedDesk(LedgerPart):
    """One desk that the ledger watches."""

    desk: str = Field(examples=["140700-110"])
    phase: Phase = Field(
        description="awaited 待签收, ringing 告警中, claimed 有人在打, settled 已电话告知, confirmed 已落实"
    )
    n: int = Field(0, description="The call-out heard of last; 0 where it rang before any was ordered")
    since: datetime
    ringing_since: datetime | None = None
    because: str | None = Field(None, description="unassessed, unordered, unaccepted; accepted or stood_down")
    by: str | None = None
    officer: str | None = None
    event_no: str | None = None


class LedgerDesk(WatchedDesk):
    """One desk of a standing row. `due_at` is when its silence is an alarm, or its claim lapses."""

    due_at: datetime | None = None


class LedgerRow(LedgerPart):
    """A standing row. `due_at` is the row's own moment while a cry for help has had no answer."""

    case: UUID
    city: str
    spoken_number: str
    drill: bool = False
    armed_at: datetime | None = None
    due_at: datetime | None = None
    desks: tuple[LedgerDesk, ...] = ()

    def phase_of(self, desk: str | None) -> Phase | None:
        """How far the ledger is with that desk."""
        return next((one.phase for one in self.desks if one.desk == desk), None)

    @property
    def alarming(self) -> bool:
        """Whether a person was told of it."""
        return any(one.phase in ALARMING for one in self.desks)


class LedgerSnapshot(LedgerPart):
    """Every standing row; `from_memory` while intake's store does not answer."""

    rows: tuple[LedgerRow, ...] = ()
    from_memory: bool = False
