"""What a desk said, by its wire or to a person of ours on the phone, and what of it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from shared.contract.callouts import REPORTS, CallOutAssigned, Report, ReportDisputed
from shared.contract.event import Event, Rejected
from shared.contract.incidents import Purpose
from shared.contract.terms import ACCEPTED, ENDED, LADDER, Rung

MOST_DISPUTES = 20
"""Kept of one call-out; a desk gone wrong must not grow the record without end."""

NO_EVENT_NO = "-"
"""Stands for the event number of a warning, which asks nobody to open an event."""

CODED = frozenset({Rung.REJECTED, Rung.CLEARED})
"""Rungs that say why, or with what disposition."""

NOBODY_COMES = frozenset({Rung.REJECTED, Rung.CANCELLED})
"""Two words for one thing: a desk that stood down may answer a late order with a rejection, or the reverse."""

BY_MACHINE = frozenset({Rung.DELIVERED, Rung.SHOWN})
"""Rungs that only a machine at the desk can know of."""


class IncompleteReport(Rejected):
    """A report that lacks what makes it one."""

    status = 422


@dataclass(frozen=True)
class RungReport:
    """One report. `by` is our own person who took it down on the phone."""

    rung: Rung
    by: str | None = None
    officer: str | None = None
    event_no: str | None = None
    unit: str | None = None
    code: str | None = None


def check_report(callout: CallOut, said: RungReport) -> None:
    """Refuse what nobody can have reported, or not yet."""
    by_phone = said.by is not None or callout.by_person
    if said.rung not in REPORTS:
        raise IncompleteReport("not_a_report", f"{said.rung} is our own word. A desk reports {', '.join(REPORTS)}.")
    if by_phone and said.rung in BY_MACHINE:
        raise IncompleteReport("not_by_phone", "Only a machine at the desk can report that. Take down who accepted it.")
    if said.rung is Rung.ACCEPTED and said.event_no is None and callout.purpose is not Purpose.WARN:
        raise IncompleteReport("event_no_missing", "Ask for the desk's own event number and send it as event_no.")
    if said.rung is Rung.ACCEPTED and said.officer is None and by_phone:
        raise IncompleteReport("officer_missing", "Ask for the officer's number and send it as officer.")
    if said.rung in CODED and said.code is None:
        raise IncompleteReport("code_missing", f"{said.rung} needs a code: why, or with what disposition.")
    further = said.rung in ACCEPTED and said.rung is not Rung.ACCEPTED
    if by_phone and further and callout.rung not in ACCEPTED | ENDED:
        raise Rejected("not_accepted_yet", "Nobody has accepted it. Report accepted first, with officer and event_no.")


def take_report(callout: CallOut, said: RungReport, now: datetime) -> tuple[Event, ...]:
    """What is announced of `said`: the report, a dispute, or nothing if it is late, repeated or known."""
    if _known(callout, said):
        return ()
    if _contradicts(callout, said):
        return _disputed(callout, said, now)
    first_acceptance = said.rung is Rung.ACCEPTED and callout.event_no is None
    if first_acceptance or LADDER[said.rung] > LADDER[callout.rung]:
        return (_event(callout, said, now),)
    return ()


def _known(callout: CallOut, said: RungReport) -> bool:
    if said.rung is Rung.ACCEPTED:
        return callout.event_no is not None and said.event_no in {None, callout.event_no}
    if callout.rung is not said.rung and {callout.rung, said.rung} == NOBODY_COMES:
        return True
    if said.rung in ENDED:
        return said.rung is callout.rung and (said.rung not in CODED or said.code == callout.code)
    return any(step.rung is said.rung for step in callout.steps)


def _contradicts(callout: CallOut, said: RungReport) -> bool:
    if callout.status is CallOutStatus.ENDED:
        return said.rung not in BY_MACHINE
    if said.rung is Rung.ACCEPTED:
        return callout.event_no is not None
    if said.rung is Rung.REJECTED:
        return callout.rung in ACCEPTED
    return LADDER[said.rung] == LADDER[callout.rung]


def _disputed(callout: CallOut, said: RungReport, now: datetime) -> tuple[Event, ...]:
    kept = {(step.rung, step.event_no, step.code) for step in callout.disputes}
    if len(callout.disputes) >= MOST_DISPUTES or (said.rung, said.event_no, said.code) in kept:
        return ()
    disputed = event_about(callout, now, ReportDisputed)
    return (disputed(rung_said=said.rung, event_no=said.event_no, code=said.code, by=said.by),)


def _event(callout: CallOut, said: RungReport, now: datetime) -> Report:
    kind = REPORTS[said.rung]
    fields: dict[str, Any] = {}
    if said.rung is Rung.ACCEPTED:
        fields["event_no"] = said.event_no or NO_EVENT_NO
    if said.rung in CODED:
        fields["code"] = said.code
    if kind is CallOutAssigned:
        fields["unit"] = said.unit
    report: Report = event_about(callout, now, kind)(by=said.by, officer=said.officer, **fields)
    return report


def event_about(callout: CallOut, now: datetime, kind: type[Event]) -> Callable[..., Any]:

    def made(**fields: Any) -> Event:
        return kind(case=callout.case, city=callout.city, at=now, desk=callout.desk, n=callout.n, **fields)

    return made
