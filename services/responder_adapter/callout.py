"""呼叫出警: one desk asked to act: when it is tried, when people phone instead, what stands of what it says."""

from dataclasses import replace
from datetime import datetime, timedelta

from services.responder_adapter.recovery import RecoverCallOut, next_attempt, recover_callout, repeat_attempt
from services.responder_adapter.report import RungReport, check_report, event_about, take_report
from services.responder_adapter.retry_schedule import LATE, NO_OUTCOME, PRESUMED_DEAD
from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from shared.contract.callouts import (
    CallOutCancelAsked,
    CallOutCancelDelivered,
    CallOutCancelled,
    CallOutFailed,
    CallOutHeld,
    CallOutReleased,
    CallOutTaken,
    CallOutUnreachable,
    ReportDisputed,
)
from shared.contract.calls import AlarmClaimed, AlarmReleased, AlarmSettled
from shared.contract.city import BY_PERSON, Cities, Clocks, WireEntry
from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, Purpose
from shared.contract.terms import ENDED, ActorId, Code, DeskId, RefNo, Rung

HOLD_GRACE = timedelta(seconds=30)
"""How much longer than the ledger's claim we hold, should its release never reach us."""


class UnknownCallOut(Rejected):
    """A command about a call-out of which nothing was heard."""

    status = 404


class CallOutCommand(Command):
    """A wish about the call-out `case/desk/n`."""

    desk: DeskId
    n: int


class ReportRung(CallOutCommand):
    """Take down what the desk said; `by` is our own person if they said it on the phone."""

    rung: Rung
    by: ActorId | None = None
    officer: RefNo | None = None
    event_no: RefNo | None = None
    unit: RefNo | None = None
    code: Code | None = None


class ClaimTask(CallOutCommand):
    """我来打: a named person takes the call task."""

    by: ActorId


class DeskAnswered(CallOutCommand):
    """The desk's own system answered the attempt with this token."""

    token: int
    rung: Rung
    officer: RefNo | None = None
    event_no: RefNo | None = None
    code: Code | None = None


class AttemptAnswered(DeskAnswered):
    """It answered an order: its definite yes or no counts, whichever attempt it answers."""


class CancelAnswered(DeskAnswered):
    """It answered a wish to cancel: cancelled, rejected, or it has the wish and will say."""


class AttemptFailed(CallOutCommand):
    """An attempt ended without a definite answer; only the newest one's failure matters."""

    token: int
    reason: Code


def decide(cities: Cities, callout: CallOut, message: Message, now: datetime) -> tuple[Event, ...]:
    """What is announced of the call-out on learning `message`. Rejects reports and claims that cannot be."""
    if callout.case is None:
        callout = named_callout(callout, message)
    if isinstance(message, CallOutCommand):
        return _asked(callout, message, now)
    match message:
        case CallOutOrdered():
            return _order(cities, callout, message, now)
        case RecoverCallOut():
            return recover_callout(callout, message, cities.desk_entry(callout.desk), now)
        case CallOutCancelRequested():
            return _cancel(callout, message, now)
        case AlarmClaimed():
            return _hold(callout, message.by, now)
        case AlarmReleased() if callout.status is CallOutStatus.HELD:
            return (event_about(callout, now, CallOutReleased)(because=message.because),)
        case AlarmSettled():
            settled = RungReport(Rung.ACCEPTED, message.by, message.officer, message.event_no)
            return take_report(callout, settled, now)
        case DeadlinePassed():
            return _overdue(cities.desk_clocks(callout.desk, callout.city), callout, now)
    return ()


def _asked(callout: CallOut, command: CallOutCommand, now: datetime) -> tuple[Event, ...]:
    if callout.status is CallOutStatus.UNHEARD:
        return _unheard(command)
    match command:
        case ClaimTask():
            return _claim(callout, command, now)
        case ReportRung():
            return _report(callout, command, now)
        case AttemptAnswered():
            said = RungReport(command.rung, None, command.officer, command.event_no, code=command.code)
            return take_report(callout, said, now)
        case CancelAnswered():
            return _cancel_answered(callout, command, now)
        case AttemptFailed() if callout.started_at is not None and command.token == callout.token:
            failed = _failed(callout, command.reason, now)
            again = command.reason == LATE and not callout.asking and callout.sends(command.token)
            return (failed, repeat_attempt(callout, now)) if again else (failed,)
    return ()


def deadline(cities: Cities, callout: CallOut) -> datetime | None:
    """The next moment at which something is due: a retry, a presumed death, a hold's end, 送达失败."""
    policy = cities.desk_clocks(callout.desk, callout.city)
    moments = (hold_lapses_at(policy, callout), attempt_due_at(callout), _unreachable_at(policy, callout))
    return min((moment for moment in moments if moment is not None), default=None)


def is_open(callout: CallOut) -> bool:
    """Whether nobody at the desk has it yet, or a person has a call to make."""
    return callout.status in {CallOutStatus.OPEN, CallOutStatus.HELD} or call_task(callout)


def call_task(callout: CallOut) -> bool:
    """Whether a person has a call to make: the order to a phone desk, or the wish to cancel what was told by phone."""
    if callout.status is CallOutStatus.STANDING_DOWN:
        return not callout.cancel_delivered and callout.started_at is None and callout.next_at is None
    return callout.by_person and callout.status in {CallOutStatus.OPEN, CallOutStatus.HELD}


def named_callout(callout: CallOut, message: Message) -> CallOut:
    """A call-out of which nothing was heard, under the name by which `message` speaks of it."""
    desk, n = getattr(message, "desk", ""), getattr(message, "n", 0)
    return replace(callout, case=message.case, city=message.city, desk=desk, n=n)


def _unheard(command: CallOutCommand) -> tuple[Event, ...]:
    if isinstance(command, ReportRung | ClaimTask):
        raise UnknownCallOut("unknown_callout", "Nobody was ever asked that.")
    return ()  # the outcome of an attempt that our store has lost since: the order will be heard again


def _order(cities: Cities, callout: CallOut, order: CallOutOrdered, now: datetime) -> tuple[Event, ...]:
    if callout.wire is not None or callout.status in {CallOutStatus.STANDING_DOWN, CallOutStatus.ENDED}:
        return ()
    wire = _wire(cities, order)
    if callout.status is CallOutStatus.AT_DESK:
        wire = BY_PERSON  # a person phoned before we heard of the order: what is left to say is said by phone too
    sends = wire.abilities.sends and callout.status is not CallOutStatus.HELD
    taken = event_about(callout, now, CallOutTaken)
    return (
        taken(
            wire=wire.kind,
            abilities=wire.abilities,
            purpose=order.purpose,
            tier=order.tier,
            reasons=order.reasons,
            situation=order.situation,
            number=order.number,
            accept_by=order.accept_by,
            token=callout.token + 1 if sends else 0,
        ),
    )


def _wire(cities: Cities, order: CallOutOrdered) -> WireEntry:
    known = cities.desk_entry(order.desk)
    return BY_PERSON if known is None or order.purpose is Purpose.WARN else known.wire


def _hold(callout: CallOut, by: str, now: datetime) -> tuple[Event, ...]:
    if callout.status in {CallOutStatus.UNHEARD, CallOutStatus.OPEN} or (
        callout.status is CallOutStatus.HELD and callout.held_by != by
    ):
        return (event_about(callout, now, CallOutHeld)(by=by),)
    return ()


def _claim(callout: CallOut, claim: ClaimTask, now: datetime) -> tuple[Event, ...]:
    if not call_task(callout):
        raise Rejected("no_call_task", "There is no call to make for this desk now. Look at its ladder.")
    if callout.held_by == claim.by:
        return ()
    if callout.held_by is not None:
        raise Rejected("claimed_by_another", f"{callout.held_by} is phoning. Wait for their report or their lapse.")
    return (event_about(callout, now, CallOutHeld)(by=claim.by),)


def _report(callout: CallOut, report: ReportRung, now: datetime) -> tuple[Event, ...]:
    said = RungReport(report.rung, report.by, report.officer, report.event_no, report.unit, report.code)
    check_report(callout, said)
    events = take_report(callout, said, now)
    asked = callout.status is CallOutStatus.STANDING_DOWN and not callout.cancel_delivered
    # Whoever takes down a report on the phone has told them of our wish in the same call.
    if asked and call_task(callout) and report.by is not None and report.rung not in ENDED:
        return (*events, event_about(callout, now, CallOutCancelDelivered)(by=report.by))
    return events


def _cancel(callout: CallOut, request: CallOutCancelRequested, now: datetime) -> tuple[Event, ...]:
    if callout.status in {CallOutStatus.STANDING_DOWN, CallOutStatus.ENDED}:
        return ()
    asked = event_about(callout, now, CallOutCancelAsked)(reason=request.reason, by=request.by)
    nobody_knows = callout.status in {CallOutStatus.UNHEARD, CallOutStatus.OPEN} and not callout.told
    if nobody_knows and not callout.cancels_by_wire:
        return (asked, event_about(callout, now, CallOutCancelled)())
    return (asked,)


def _cancel_answered(callout: CallOut, answer: CancelAnswered, now: datetime) -> tuple[Event, ...]:
    if answer.rung is Rung.CANCELLED:
        return take_report(callout, RungReport(Rung.CANCELLED), now)
    if callout.status is not CallOutStatus.STANDING_DOWN or callout.cancel_delivered:
        return ()
    delivered = event_about(callout, now, CallOutCancelDelivered)()
    if answer.rung is Rung.REJECTED:  # they will not stand down: that is no refusal to act
        return (event_about(callout, now, ReportDisputed)(rung_said=Rung.REJECTED, code=answer.code), delivered)
    return (delivered,)


def _overdue(policy: Clocks, callout: CallOut, now: datetime) -> tuple[Event, ...]:
    lapses, due, unreachable = (
        hold_lapses_at(policy, callout),
        attempt_due_at(callout),
        _unreachable_at(policy, callout),
    )
    events: list[Event] = []
    if lapses is not None and now >= lapses:
        events.append(event_about(callout, now, CallOutReleased)(because="hold_lapsed"))
    if unreachable is not None and now >= unreachable:
        events.append(event_about(callout, now, CallOutUnreachable)(reason=callout.failure or NO_OUTCOME))
    if due is not None and now >= due:
        if callout.started_at is not None:
            events.append(_failed(callout, NO_OUTCOME, now))
        events.append(next_attempt(callout, now))
    return tuple(events)


def _failed(callout: CallOut, reason: str, now: datetime) -> Event:
    failed: CallOutFailed = event_about(callout, now, CallOutFailed)(
        attempt=callout.attempt, token=callout.token, reason=reason
    )
    return failed


def attempt_due_at(callout: CallOut) -> datetime | None:
    if callout.status not in {CallOutStatus.OPEN, CallOutStatus.STANDING_DOWN}:
        return None
    return callout.started_at + PRESUMED_DEAD if callout.started_at else callout.next_at


def hold_lapses_at(policy: Clocks, callout: CallOut) -> datetime | None:
    if callout.held_at is None:
        return None
    grace = timedelta() if callout.by_person else HOLD_GRACE
    return callout.held_at + timedelta(seconds=policy.claim) + grace


def _unreachable_at(policy: Clocks, callout: CallOut) -> datetime | None:
    if callout.status is not CallOutStatus.OPEN or callout.unreachable or callout.first_started_at is None:
        return None
    return callout.first_started_at + timedelta(seconds=policy.unreachable)
