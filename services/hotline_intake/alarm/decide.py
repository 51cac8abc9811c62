"""人工告警: when nobody is known to come for a person in danger, a human must pick up the phone."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import reduce
from typing import TypedDict
from uuid import UUID

from services.hotline_intake.alarm import ringing, row
from services.hotline_intake.alarm.desk import AwaitedDesk
from services.hotline_intake.alarm.row import AlarmRow, desk_due_at, unheard_due_at
from shared.contract.callouts import CallOutCancelled, CallOutUncertain, Report
from shared.contract.calls import (
    AlarmClaimed,
    AlarmPassedOn,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    AlarmSounded,
    DeskConfirmed,
    RescueAwaited,
    WatchCleared,
)
from shared.contract.city import Clocks
from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, IncidentOpened, IncidentRaised, Purpose
from shared.contract.ledger import ALARMING, OPEN, Phase
from shared.contract.risk import RiskAssessed
from shared.contract.terms import ACCEPTED, ActorId, DeskId, RefNo, desk_id


class ClaimAlarm(Command):
    """ "我来打": I am phoning this desk now. `rang`: it rang from memory, whatever the row says."""

    desk: DeskId
    by: ActorId
    rang: bool = False


class ReleaseAlarm(Command):
    """I could not reach them: let it ring again."""

    desk: DeskId
    by: ActorId


class SettleAlarm(Command):
    """The desk has it, told by phone. `rang`: it rang from memory, whatever the row says."""

    desk: DeskId
    by: ActorId
    officer: RefNo
    event_no: RefNo
    rang: bool = False


AlarmAnswer = ClaimAlarm | ReleaseAlarm | SettleAlarm
"""What a person does about a ringing desk."""


class ConfirmRing(Command):
    """A channel took that ring."""

    ring: int


class RingNow(Command):
    """The store is silent: ring for every desk from which nobody is known to come."""


class EventHeading(TypedDict):
    """What every event of a row begins with."""

    case: UUID
    city: str
    at: datetime


def decide(alarm: AlarmRow, message: Message, now: datetime, clocks: Clocks, chain: int) -> tuple[Event, ...]:
    """What the ledger says on learning `message`; news that changes nothing for it returns ().

    `chain` is how many people could be told outside.
    """
    heading = EventHeading(case=message.case, city=message.city, at=now)
    match message:
        case RiskAssessed():
            return _hear_assessment(alarm, message, heading)
        case IncidentOpened() | IncidentRaised() | CallOutOrdered(purpose=Purpose.ACT):
            return _await(alarm, message, heading)
        case CallOutCancelRequested():
            return _stand_down(alarm, message, heading)
        case Report() | CallOutUncertain():
            return _hear_of_desk(alarm, message, heading)
        case DeadlinePassed():
            silences = tuple(_overdue(alarm, clocks, heading))
            return (*silences, *_sound(alarm, silences, clocks, chain, heading))
        case ConfirmRing(ring=ring) if ring == alarm.sounding.ring and not alarm.sounding.taken:
            return (AlarmPassedOn(**heading, ring=ring),)
        case RingNow():
            return _ring_now(alarm, heading)
        case ClaimAlarm() | ReleaseAlarm() | SettleAlarm():
            return _obey(alarm, message, heading)
    return ()


def replay_answers(alarm: AlarmRow, answers: Iterable[AlarmAnswer], heading: EventHeading) -> tuple[Event, ...]:
    """What the ledger says of a cry for help that rang from memory and that people have answered since.

    All of it is one commit with the cry itself, so that no machine is asked for a desk that somebody is phoning.
    """
    events = _ring_now(alarm, heading)
    alarm = reduce(row.evolve, events, alarm)
    for answer in answers:
        with suppress(Rejected):  # it was answered when it was given; what stands of it now is in the row
            obeyed = _obey(alarm, answer, heading)
            alarm = reduce(row.evolve, obeyed, alarm)
            events = (*events, *obeyed)
    return events


def _ring_now(alarm: AlarmRow, heading: EventHeading, *also: str) -> tuple[Event, ...]:
    asked = (desk_id(heading["city"], kind) for kind in alarm.asked if alarm.unheard_since is not None)
    awaited = (name for name, desk in alarm.desks.items() if desk.phase is Phase.AWAITED)
    silent = tuple(dict.fromkeys((*asked, *awaited, *also)))
    return (AlarmRaised(**heading, desks=silent, because="store_silent"),) if silent else ()


def _hear_assessment(alarm: AlarmRow, heard: RiskAssessed, heading: EventHeading) -> tuple[Event, ...]:
    waits = alarm.unheard_since is not None or any(desk.unassessed for desk in alarm.desks.values())
    if heard.dispatch_now or alarm.by_hand or heard.screening != alarm.screening or not waits:
        return ()
    return (WatchCleared(**heading, rang=any(desk.unassessed for desk in alarm.desks.values())),)


def _await(
    alarm: AlarmRow, heard: IncidentOpened | IncidentRaised | CallOutOrdered, heading: EventHeading
) -> tuple[Event, ...]:
    desks: tuple[str, ...] = ()
    n = 1
    match heard:
        case IncidentOpened():
            desks = heard.desks
        case CallOutOrdered():
            desks, n = (heard.desk,), heard.n
    fresh = tuple(desk for desk in desks if desk not in alarm.desks or alarm.desks[desk].news(n))
    if not fresh and alarm.unheard_since is None:
        return ()
    return (RescueAwaited(**heading, desks=fresh, n=n),)


def _stand_down(alarm: AlarmRow, asked: CallOutCancelRequested, heading: EventHeading) -> tuple[Event, ...]:
    desk = alarm.desks.get(asked.desk)
    if desk is None or asked.n < desk.n or desk.phase is Phase.SETTLED or desk.because == "stood_down":
        return ()
    rang = desk.phase in ALARMING
    return (DeskConfirmed(**heading, desk=asked.desk, n=asked.n, because="stood_down", rang=rang),)


def _hear_of_desk(alarm: AlarmRow, said: Report | CallOutUncertain, heading: EventHeading) -> tuple[Event, ...]:
    return _hear_report(alarm, said, heading) if isinstance(said, Report) else _doubt(alarm, said, heading)


def _hear_report(alarm: AlarmRow, report: Report, heading: EventHeading) -> tuple[Event, ...]:
    desk = alarm.desks.get(report.desk)
    if report.rung in ACCEPTED:
        if desk is None or report.n > desk.n or (report.n == desk.n and desk.phase in OPEN):
            rang = desk is not None and desk.phase in ALARMING
            return (DeskConfirmed(**heading, desk=report.desk, n=report.n, rang=rang),)
        return ()
    # A desk that had accepted and withdraws unasked leaves the person alone again.
    if isinstance(report, CallOutCancelled) and desk is not None and desk.counts_on(report.n):
        return (RescueAwaited(**heading, desks=(report.desk,), n=report.n),)
    return ()


def _doubt(alarm: AlarmRow, uncertain: CallOutUncertain, heading: EventHeading) -> tuple[Event, ...]:
    """After a lost store nobody can say whether the desk has it: a person asks."""
    desk = alarm.desks.get(uncertain.desk)
    if desk is not None and (desk.phase is not Phase.AWAITED or uncertain.n < desk.n):
        return ()
    return (AlarmRaised(**heading, desks=(uncertain.desk,), because="recovered"),)


def _overdue(alarm: AlarmRow, clocks: Clocks, heading: EventHeading) -> Iterator[Event]:
    raised: tuple[str, ...] = ()
    moment = unheard_due_at(alarm, clocks)
    if moment is not None and moment <= heading["at"]:
        raised = tuple(desk_id(heading["city"], kind) for kind in alarm.asked)
        yield AlarmRaised(**heading, desks=raised, because="unordered" if alarm.by_hand else "unassessed")
    due = [
        name for name, desk in alarm.desks.items() if (at := desk_due_at(alarm, desk, clocks)) and at <= heading["at"]
    ]
    silent = tuple(name for name in due if alarm.desks[name].phase is Phase.AWAITED and name not in raised)
    if silent:
        yield AlarmRaised(**heading, desks=silent, because="unaccepted")
    for name in due:
        if alarm.desks[name].phase is Phase.CLAIMED:
            yield AlarmReleased(**heading, desk=name, n=alarm.desks[name].callout, because="claim_lapsed")


def _sound(
    alarm: AlarmRow, said: tuple[Event, ...], clocks: Clocks, chain: int, heading: EventHeading
) -> tuple[Event, ...]:
    """Whom to tell outside at this moment, now that the ledger has `said` what it just did."""
    after = reduce(row.evolve, said, alarm)
    due = row.sounds_at(after, clocks, chain)
    if due is None:
        return ()
    # A silence that nobody was there to notice in time does not put people off once more.
    noticed = row.silent_at(alarm, clocks) if said else None
    if min(due, noticed + ringing.screens_alone(clocks) if noticed else due) > heading["at"]:
        return ()
    told = min(chain, ringing.persons_to_tell(after.sounding, after.ringing.values(), clocks, heading["at"]))
    return (AlarmSounded(**heading, desks=tuple(after.ringing), ring=after.sounding.ring + 1, persons=told),)


def _obey(alarm: AlarmRow, command: AlarmAnswer, heading: EventHeading) -> tuple[Event, ...]:
    desk = alarm.desks.get(command.desk)
    if not isinstance(command, ReleaseAlarm) and command.rang and (desk is None or desk.phase is Phase.AWAITED):
        raised = _ring_now(alarm, heading, command.desk)
        return (*raised, *_obey(reduce(row.evolve, raised, alarm), command, heading))
    if desk is None:
        raise Rejected("desk_not_awaited", f"This call waits for no {command.desk}. To call it out, escalate (F9).")
    match command:
        case ClaimAlarm():
            return _claim(desk, command, heading)
        case ReleaseAlarm():
            return _release(desk, command, heading)
        case SettleAlarm():
            return _settle(desk, command, heading)


def _claim(desk: AwaitedDesk, command: ClaimAlarm, heading: EventHeading) -> tuple[Event, ...]:
    if desk.phase is Phase.CLAIMED:
        if desk.by == command.by:
            return ()
        raise Rejected("alarm_claimed", f"{desk.by} is phoning {command.desk} already. Leave it to them or settle it.")
    if desk.phase is not Phase.RINGING:
        raise Rejected("alarm_not_ringing", f"Nothing rings for {command.desk}: it is {desk.phase}. Nothing to phone.")
    return (AlarmClaimed(**heading, desk=command.desk, n=desk.callout, by=command.by),)


def _release(desk: AwaitedDesk, command: ReleaseAlarm, heading: EventHeading) -> tuple[Event, ...]:
    if desk.phase is not Phase.CLAIMED or desk.by != command.by:
        raise Rejected("alarm_not_claimed", f"You have not claimed the alarm for {command.desk}. Claim it first.")
    return (AlarmReleased(**heading, desk=command.desk, n=desk.callout, because="given_back"),)


def _settle(desk: AwaitedDesk, command: SettleAlarm, heading: EventHeading) -> tuple[Event, ...]:
    if desk.phase in OPEN:
        given = {"officer": command.officer, "event_no": command.event_no}
        return (AlarmSettled(**heading, desk=command.desk, n=desk.callout, by=command.by, **given),)
    if (desk.officer, desk.event_no) == (command.officer, command.event_no):
        return ()
    raise Rejected(
        "desk_has_it",
        f"{command.desk} is {desk.phase} already. Tell them so, lest a second crew goes; use the desk's call-out.",
    )
