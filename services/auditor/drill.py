"""分钟演练: each minute a person who does not exist is escalated through the real doors, and the echo desk accepts."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid5

from services.auditor.account import Account
from services.auditor.callout import AuditedCallOut
from shared.contract.city import Cities
from shared.contract.terms import ECHO, desk_kind
from shared.kernel.machine.keeper import NAMES
from shared.kernel.machine.shards import shard_of

EVERY, AGAIN, WITHIN = 60.0, 10.0, 30.0
"""Seconds between drills, until the next after one that failed, and in which one must come back."""

HOUR = 3600


def drilled_cities(cities: Cities) -> dict[str, str]:
    return {shard_of(code): code for code in sorted(cities, reverse=True)}


def drill_case(city: str, at: datetime, round_: int) -> UUID:
    """The drill case of this city and hour, a UUIDv7 like any other. `round_` counts those that had to be given up."""
    hour = int(at.timestamp()) // HOUR * HOUR
    random = uuid5(NAMES, f"drill|{city}|{hour}|{round_}").int & ((1 << 74) - 1)
    high, low = random >> 62, random & ((1 << 62) - 1)
    return UUID(int=((hour * 1000) << 80) | (7 << 76) | (high << 64) | (0b10 << 62) | low)


@dataclass(frozen=True)
class Drill:
    """The drills of one city. Moments are of the monotonic clock; `accepted` is the highest n the echo desk had before.

    `given_up` counts cases that stopped between accepting and clearing: no order follows on those.
    """

    city: str
    case: UUID | None = None
    accepted: int = 0
    sent: float | None = None
    came: float | None = None
    failed: bool = False
    given_up: int = 0

    def due(self, at: float) -> bool:
        if self.sent is None:
            return True
        return at - self.sent >= (AGAIN if self.failed else EVERY)

    @property
    def under_way(self) -> bool:
        """Whether one has been sent and has neither come back nor failed."""
        return self.case is not None

    def start(self, case: UUID, account: Account | None, at: float) -> "Drill":
        return replace(self, case=case, accepted=_accepted(account), sent=at)

    def look(self, account: Account | None, at: float) -> "Drill":
        if not self.under_way or self.sent is None:
            return self
        if _accepted(account) > self.accepted:
            return replace(self, case=None, came=at, failed=False)
        return self.fail(account) if at - self.sent >= WITHIN else self

    def fail(self, account: Account | None) -> "Drill":
        """It did not come back, or did not even go out."""
        stuck = any(one.accepted_at and not one.ended for one in _echoes(account))
        return replace(self, case=None, failed=True, given_up=self.given_up + stuck)


def _echoes(account: Account | None) -> list[AuditedCallOut]:
    return [one for one in (account.callouts.values() if account else ()) if desk_kind(one.desk) == ECHO]


def _accepted(account: Account | None) -> int:
    return max((one.n for one in _echoes(account) if one.accepted_at), default=0)
