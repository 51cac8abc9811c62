"""What intake's ledger and the adapter say of the people in danger, beside what Kafka tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.auditor.account import Account
from shared.contract.callouts import OpenCallOut
from shared.contract.ledger import LedgerSnapshot


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
