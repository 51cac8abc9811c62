"""Ledger, Kafka and adapter compared: what differs too long is found, and rings where nobody else will."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.auditor import mirror
from services.auditor.account import Account, Cry, Raised
from services.auditor.callout import AuditedCallOut, Ring
from services.auditor.compare import Finding, compare_snapshots, lasting_findings
from services.auditor.drill import Drill, drill_case
from services.auditor.mirror import UnansweredDesk
from services.auditor.snapshots import Snapshots
from shared.contract.callouts import OpenCallOut
from shared.contract.city import Cities
from shared.contract.ledger import LedgerDesk, LedgerRow, LedgerSnapshot
from shared.notify.bell import Bell
from shared.notify.channels import send_message
from tests.support.a_city import a_city

CASE, CITY, POLICE, ECHO = UUID("0197a000-0000-7000-8000-000000000001"), "140700", "140700-110", "140700-000"
BEGAN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
CITIES = Cities([a_city()])


def moment(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


CRY, ORDER = uuid4(), AuditedCallOut(POLICE, 1, ordered_at=moment(0.2))
CRIED = Account(CASE, CITY, raised={CRY: Raised(Cry.BY_HAND, BEGAN)})
ORDERED = replace(CRIED, answered=frozenset({CRY}), callouts={(POLICE, 1): ORDER})
DELIVERED = replace(ORDERED, callouts={(POLICE, 1): replace(ORDER, delivered_at=moment(1))})
ACCEPTED = replace(ORDERED, callouts={(POLICE, 1): replace(ORDER, accepted_at=moment(1))})


def row(phase: str | None = "awaited", due: float = 20, **more: Any) -> LedgerRow:
    desks = () if phase is None else (LedgerDesk(desk=POLICE, phase=phase, since=BEGAN, due_at=moment(due)),)
    return LedgerRow(
        case=CASE, city=CITY, spoken_number="0354-1", desks=desks, due_at=None if desks else moment(due), **more
    )


def pictures(account: Account | None, row: LedgerRow | None, *callouts: OpenCallOut, **more: Any) -> Snapshots:
    said = {
        "accounts": {} if account is None else {CASE: account},
        "ledger": LedgerSnapshot(rows=() if row is None else (row,)),
        "callouts": callouts,
        "whole_since": BEGAN,
    }
    return Snapshots(**{**said, **more})


def found(seen: Snapshots, seconds: float = 15) -> list[tuple[str, bool]]:
    _, findings = lasting_findings(
        compare_snapshots(seen, moment(seconds)), dict.fromkeys(keys(seen, seconds), BEGAN), moment(seconds)
    )
    return [(one.what, one.alarm) for one in findings]


def keys(seen: Snapshots, seconds: float) -> list[Any]:
    return [one.key for one in compare_snapshots(seen, moment(seconds))]


OPEN = OpenCallOut(case=CASE, city=CITY, desk=POLICE, n=1, wire="webhook")


@pytest.mark.parametrize(
    ("seen", "findings"),
    [
        (pictures(None, None), []),
        (pictures(DELIVERED, row()), []),
        (pictures(ACCEPTED, None), []),
        (pictures(CRIED, row(None)), [("unordered", False)]),
        (pictures(CRIED, row("ringing")), []),
        (pictures(CRIED, None), [("unordered", True), ("unwatched", True)]),
        (pictures(CRIED, row(None, due=10)), [("unordered", True), ("unrung", True)]),
        (pictures(ORDERED, row()), [("untaken", False)]),
        (pictures(ORDERED, row("claimed")), []),
        (pictures(ORDERED, row("settled")), []),
        (pictures(ORDERED, row(), OPEN.model_copy(update={"wire": "phone"})), []),
        (pictures(DELIVERED, None), [("unwatched", True)]),
        (pictures(DELIVERED, row(due=10)), [("unrung", True)]),
        (pictures(None, row()), [("unlogged", False)]),
        (pictures(None, None, OPEN), [("unsaid", False)]),
        (pictures(DELIVERED, row(), OPEN.model_copy(update={"n": 2})), [("unsaid", False)]),
        (pictures(None, None, silent={"kafka": BEGAN}), [("silent", False)]),
        (pictures(replace(CRIED, drill=True), None), []),
        (pictures(None, row(drill=True, due=1)), []),
        (pictures(CRIED, None, ledger=None), [("unordered", False)]),
        (pictures(None, row(due=20), accounts=None), []),
    ],
)
def test_what_differs_between_the_pictures_is_found(seen: Snapshots, findings: list[tuple[str, bool]]) -> None:
    assert found(seen) == findings


def test_nothing_is_a_finding_before_the_machine_had_its_ten_seconds() -> None:
    assert found(pictures(CRIED, row(None)), seconds=9.9) == []
    assert found(pictures(CRIED, row(None)), seconds=10) == [("unordered", False)]


def test_a_difference_that_has_only_just_come_is_none_yet() -> None:
    seen = compare_snapshots(pictures(DELIVERED, None), moment(60))
    began, findings = lasting_findings(seen, {}, moment(60))
    assert findings == ()
    assert [one.what for one in lasting_findings(seen, began, moment(70))[1]] == ["unwatched"]


def test_what_kafka_lacked_while_it_was_away_counts_from_its_return() -> None:
    seen = compare_snapshots(pictures(CRIED, row(None), whole_since=moment(12)), moment(15))
    assert lasting_findings(seen, {}, moment(15))[1] == ()
    assert len(lasting_findings(seen, {}, moment(22))[1]) == 1


def mirrored(account: Account | None, row: LedgerRow | None, seconds: float) -> tuple[UnansweredDesk, ...]:
    ledger = LedgerSnapshot(rows=() if row is None else (row,))
    return mirror.overdue_desks(ledger, {} if account is None else {CASE: account}, CITIES, moment(seconds))


@pytest.mark.parametrize(
    ("account", "row", "at", "rings"),
    [
        (None, row(), 19, False),
        (None, row(), 20, True),
        (None, row("ringing", due=99), 1, True),
        (None, row("claimed", due=120), 60, False),
        (None, row("claimed", due=120), 120, True),
        (None, row("confirmed"), 99, False),
        (None, row(None, due=10), 10, True),
        (None, row(drill=True), 99, False),
        (ACCEPTED, row(), 99, False),
        (replace(DELIVERED, rings={POLICE: Ring(BEGAN, settled_by="sup")}), row(), 99, False),
        (DELIVERED, row(), 99, True),
        (DELIVERED, None, 21, True),
        (DELIVERED, row(None, due=10), 21, True),
        (CRIED, row(None, due=10), 10, True),
        (CRIED, None, 9, False),
        (CRIED, None, 10, True),
        (replace(CRIED, drill=True), None, 99, False),
    ],
)
def test_with_intake_dead_the_mirror_rings_for_whom_nobody_is_known_to_have_taken(
    account: Account | None, row: LedgerRow | None, at: float, rings: bool
) -> None:
    assert mirrored(account, row, at) == ((UnansweredDesk(CASE, CITY, POLICE),) if rings else ())


def test_a_ledger_from_memory_drops_no_row() -> None:
    before, started_anew = LedgerSnapshot(rows=(row(),)), LedgerSnapshot(rows=(), from_memory=True)
    assert mirror.merge_ledgers(before, started_anew).rows == before.rows
    assert mirror.merge_ledgers(before, LedgerSnapshot()).rows == ()


def test_what_is_said_outside_is_the_spoken_number_the_desk_and_nothing_else() -> None:
    assert (
        Bell(CITIES, send_message, {}).phone_now(CITY, CASE, [POLICE])
        == "【警医】0354-051393-6 请立即拨打 110 0354110 phone now"
    )


def test_the_drill_case_of_an_hour_is_a_uuid7_of_that_hour() -> None:
    case = drill_case(CITY, moment(1800), 0)
    assert (case.version, case.int >> 80) == (7, int(BEGAN.timestamp()) * 1000)
    assert case == drill_case(CITY, moment(60), 0)
    assert (
        len({case, drill_case(CITY, moment(3600), 0), drill_case(CITY, moment(60), 1), drill_case("140100", BEGAN, 0)})
        == 4
    )


def echo(n: int, **more: Any) -> Account:
    return Account(CASE, CITY, drill=True, callouts={(ECHO, n): AuditedCallOut(ECHO, n, **more)})


def test_a_drill_comes_back_with_an_acceptance_it_did_not_know() -> None:
    sent = Drill(CITY).start(CASE, echo(1, accepted_at=BEGAN), at=100)
    assert sent.look(echo(1, accepted_at=BEGAN), at=101).under_way
    back = sent.look(echo(2, accepted_at=BEGAN), at=101)
    assert (back.under_way, back.failed, back.came, back.due(159), back.due(160)) == (False, False, 101, False, True)


def test_a_drill_that_stays_away_has_failed_and_is_sent_again_soon() -> None:
    failed = Drill(CITY).start(CASE, None, at=100).look(echo(1), at=130)
    assert (failed.under_way, failed.failed, failed.due(131), failed.given_up) == (False, True, True, 0)


def test_a_drill_case_stuck_between_accepting_and_clearing_is_given_up() -> None:
    stuck = echo(1, accepted_at=BEGAN)
    assert Drill(CITY).start(CASE, stuck, at=100).look(stuck, at=130).given_up == 1
    assert Finding("x", None, CASE, CITY).phone == POLICE
