"""镜像: whom to ring for while intake is dead, from the ledger as it last was and from Kafka."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.auditor.account import Account
from services.auditor.callout import WATCHED
from services.auditor.compare import POLICE
from shared.contract.audit import Turn
from shared.contract.city import Cities, Clocks
from shared.contract.ledger import OPEN, LedgerRow, LedgerSnapshot, Phase
from shared.contract.terms import desk_id

TAKEN = frozenset({Turn.HELD, Turn.ACCEPTED, Turn.SETTLED, Turn.STOOD_DOWN, Turn.CLEARED})
"""Turns at which a person is known to have it."""


@dataclass(frozen=True)
class UnansweredDesk:
    """A person in danger for whom this desk must be phoned now."""

    case: UUID
    city: str
    desk: str


def merge_ledgers(before: LedgerSnapshot, answer: LedgerSnapshot) -> LedgerSnapshot:
    """The ledger to keep. An intake that lives from memory may have started without one: nothing is dropped by it."""
    if not answer.from_memory:
        return answer
    fresh = {row.case: row for row in before.rows} | {row.case: row for row in answer.rows}
    return LedgerSnapshot(rows=tuple(fresh.values()), from_memory=True)


def overdue_desks(
    ledger: LedgerSnapshot, accounts: Mapping[UUID, Account], cities: Cities, now: datetime
) -> tuple[UnansweredDesk, ...]:
    """Every desk whose moment has passed and that nobody is known to have taken. Drills never ring."""
    # A row may be older than the orders: intake died before it heard of them. Of those desks Kafka alone tells.
    mirrored = {(row.case, one.desk) for row in ledger.rows for one in row.desks}
    rows = (due for row in ledger.rows if not row.drill for due in _of_row(row, accounts.get(row.case), now))
    standing = (one for one in accounts.values() if not one.drill and one.stands)
    others = (due for one in standing for due in _of_account(one, cities.line_clocks(one.city), now))
    return tuple(dict.fromkeys((*rows, *(due for due in others if (due.case, due.desk) not in mirrored))))


def _of_row(row: LedgerRow, account: Account | None, now: datetime) -> Iterator[UnansweredDesk]:
    turns = account.turns if account else {}
    for one in row.desks:
        passed = one.phase is Phase.RINGING or (one.due_at is not None and one.due_at <= now)
        # A claim that we know of from Kafka alone is newer than the row, and has its own time.
        taken = turns.get(one.desk) in TAKEN and not (one.phase is Phase.CLAIMED and passed)
        if one.phase in OPEN and passed and not taken:
            yield UnansweredDesk(row.case, row.city, one.desk)
    answered = account is not None and not account.unanswered
    if row.due_at is not None and row.due_at <= now and not answered:
        yield UnansweredDesk(row.case, row.city, desk_id(row.city, POLICE))


def _of_account(account: Account, clocks: Clocks, now: datetime) -> Iterator[UnansweredDesk]:
    ring, heard = timedelta(seconds=clocks.ring_at), timedelta(seconds=clocks.assess_by)
    for one in account.latest:
        turn = one.turn(account.rings.get(one.desk))
        since = one.ordered_at
        if one.acts and turn in WATCHED - TAKEN and since is not None and since + ring <= now:
            yield UnansweredDesk(account.case, account.city, one.desk)
    if any(cry.at + heard <= now for cry in account.unanswered):
        yield UnansweredDesk(account.case, account.city, desk_id(account.city, POLICE))
