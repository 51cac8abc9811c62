"""核对: raised → ordered → delivered, compared across Kafka, the ledger and the adapter; what differs is a finding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.auditor.account import Account, OwedRung, owed_rungs
from services.auditor.snapshots import Snapshots
from shared.contract.audit import MACHINE_WITHIN
from shared.contract.callouts import OpenCallOut
from shared.contract.ledger import OPEN, LedgerRow, LedgerSnapshot, Phase
from shared.contract.terms import desk_id

UNWATCHED, UNRUNG, UNLOGGED, UNSAID, SILENT = "unwatched", "unrung", "unlogged", "unsaid", "silent"
"""In Kafka but not in the ledger; its moment passed and nothing rings; in the ledger but not in Kafka; in the adapter
but not in Kafka; a source does not answer. Besides them: the missing machine rungs of account.py."""

POLICE = "110"
LATE = timedelta(seconds=3)
"""How late the ledger's own ring may be before we count on it no longer."""


@dataclass(frozen=True)
class Finding:
    """One difference. `alarm`: a person may be without help and nobody is rung, so we ring. `since` None: just now."""

    what: str
    since: datetime | None = None
    case: UUID | None = None
    city: str = ""
    desk: str | None = None
    alarm: bool = False

    @property
    def key(self) -> tuple[str, UUID | None, str | None]:
        """What makes it the same difference at the next comparison."""
        return self.what, self.case, self.desk

    @property
    def phone(self) -> str:
        """The desk a person would have to phone: the line's own 110 where none was named."""
        return self.desk or desk_id(self.city, POLICE)


def compare_snapshots(pictures: Snapshots, now: datetime) -> tuple[Finding, ...]:
    """Every difference at this moment, drills left out; only pictures that are up to date speak."""
    return (
        *(Finding(SILENT, since, desk=source) for source, since in pictures.silent.items()),
        *_missing(pictures, now),
        *_unwatched(pictures),
        *_unrung(pictures.ledger, now),
        *_not_in_kafka(pictures),
    )


def lasting_findings(
    found: Iterable[Finding], noticed: Mapping[tuple[str, UUID | None, str | None], datetime], now: datetime
) -> tuple[dict[tuple[str, UUID | None, str | None], datetime], tuple[Finding, ...]]:
    """When each difference began, and those that have lasted longer than the machine may take."""
    began = {one.key: min(one.since or now, noticed.get(one.key, now)) for one in found}
    return began, tuple(one for one in found if began[one.key] + MACHINE_WITHIN <= now)


def _accounts(pictures: Snapshots) -> tuple[Account, ...]:
    return tuple(one for one in (pictures.accounts or {}).values() if not one.drill)


def _missing(pictures: Snapshots, now: datetime) -> Iterator[Finding]:
    rows = _rows(pictures.ledger)
    for account in _accounts(pictures):
        row = rows.get(account.case)
        for gap in owed_rungs(account):
            if not _with_people(row, gap) and not _phoned(pictures.callouts, account, gap):
                since = max(gap.since, pictures.whole_since)
                alone = pictures.ledger is not None and not _will_ring(row, now)
                yield Finding(gap.missing, since, account.case, account.city, gap.desk, alone)


def _with_people(row: LedgerRow | None, gap: OwedRung) -> bool:
    """Whether the ledger, which may be ahead of Kafka, knows that a person was told or has it."""
    if row is None:
        return False
    phase = row.phase_of(gap.desk)
    return row.alarming if gap.desk is None else phase is not None and phase is not Phase.AWAITED


def _phoned(callouts: tuple[OpenCallOut, ...] | None, account: Account, gap: OwedRung) -> bool:
    mine = (one for one in callouts or () if (one.case, one.desk, one.n) == (account.case, gap.desk, gap.n))
    return any(one.wire == "phone" for one in mine)


def _will_ring(row: LedgerRow | None, now: datetime) -> bool:
    """Whether the ledger has a moment to come, or rings already."""
    moments = () if row is None else (row.due_at, *(one.due_at for one in row.desks if one.phase in OPEN))
    return (row is not None and row.alarming) or any(moment and moment + LATE > now for moment in moments)


def _unwatched(pictures: Snapshots) -> Iterator[Finding]:
    if pictures.ledger is None or pictures.accounts is None:
        return
    rows = _rows(pictures.ledger)
    for account in _accounts(pictures):
        if account.stands and account.case not in rows:
            yield Finding(UNWATCHED, None, account.case, account.city, alarm=True)


def _unrung(ledger: LedgerSnapshot | None, now: datetime) -> Iterator[Finding]:
    for row in () if ledger is None or ledger.from_memory else ledger.rows:
        if row.drill:
            continue
        for one in row.desks:
            if one.phase is Phase.AWAITED and one.due_at is not None and one.due_at + LATE <= now:
                yield Finding(UNRUNG, one.due_at, row.case, row.city, one.desk, alarm=True)
        if row.due_at is not None and row.due_at + LATE <= now:
            yield Finding(UNRUNG, row.due_at, row.case, row.city, alarm=True)


def _not_in_kafka(pictures: Snapshots) -> Iterator[Finding]:
    if pictures.accounts is None:
        return
    for row in _rows(pictures.ledger).values():
        if not row.drill and row.case not in pictures.accounts:
            yield Finding(UNLOGGED, None, row.case, row.city)
    for one in pictures.callouts or ():
        account = pictures.accounts.get(one.case)
        if account is None or (one.desk, one.n) not in account.callouts:
            yield Finding(UNSAID, None, one.case, one.city, one.desk)


def _rows(ledger: LedgerSnapshot | None) -> dict[UUID, LedgerRow]:
    return {row.case: row for row in ledger.rows} if ledger else {}
