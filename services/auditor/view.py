"""One escalation as people and programs read it: when, by whom, what became of it, and every desk with its times."""

from datetime import datetime

from services.auditor.account import Account, fate_of
from services.auditor.callout import AuditedCallOut, Ring
from shared.contract.audit import DeskLine, EscalationLine, Turn
from shared.contract.city import Cities


def escalation_line(account: Account, cities: Cities, now: datetime) -> EscalationLine | None:
    """The account as a line; None where nobody ever called for help."""
    if account.raised_at is None:
        return None
    called = [_desk(one, account.rings.get(one.desk)) for one in account.callouts.values()]
    alone = {desk: ring for desk, ring in account.rings.items() if all(key[0] != desk for key in account.callouts)}
    return EscalationLine(
        case=account.case,
        city=account.city,
        spoken_number=cities.spoken_number(account.city, account.case),
        raised_at=account.raised_at,
        tier=account.tier,
        by=account.by,
        fate=fate_of(account, now),
        desks=tuple(sorted((*called, *(_ringing(*one) for one in alone.items())), key=lambda one: (one.desk, one.n))),
    )


def _desk(one: AuditedCallOut, ring: Ring | None) -> DeskLine:
    return DeskLine(
        desk=one.desk,
        n=one.n,
        acts=one.acts,
        turn=one.turn(ring),
        ordered_at=one.ordered_at,
        delivered_at=one.delivered_at,
        accepted_at=one.accepted_at,
        settled_at=ring.settled_at if ring else None,
        rung_at=ring.since if ring else None,
        stand_down_at=one.stand_down_at,
        ended_at=one.ended_at,
        event_no=one.event_no or (ring.event_no if ring else None),
        by=one.by or one.held_by or ((ring.settled_by or ring.claimed_by) if ring else None),
        code=one.code or one.unreachable,
    )


def _ringing(desk: str, ring: Ring) -> DeskLine:
    """A desk that rings though nobody was called out."""
    turn = Turn.SETTLED if ring.settled_by else Turn.HELD if ring.claimed_by else Turn.RINGING
    return DeskLine(
        desk=desk,
        turn=turn,
        settled_at=ring.settled_at,
        rung_at=ring.since,
        event_no=ring.event_no,
        by=ring.settled_by or ring.claimed_by,
    )
