"""来电: one conversation with the hotline, from its opening to its follow-up plan, and the ledger that watches it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce
from uuid import UUID

from services.hotline_intake.alarm import decide as alarm
from services.hotline_intake.alarm import row
from services.hotline_intake.alarm.decide import AlarmAnswer, ClaimAlarm, EventHeading, ReleaseAlarm, SettleAlarm
from services.hotline_intake.alarm.row import AlarmRow
from shared.contract.calls import (
    AlarmClaimed,
    AlarmPassedOn,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    AlarmSounded,
    BriefRecorded,
    CallEnded,
    CallEnding,
    CallReceived,
    DeskConfirmed,
    EscalationRequested,
    FollowUp,
    FollowUpPlanned,
    PlaceReported,
    RescueAwaited,
    ScreeningRecorded,
    WatchCleared,
)
from shared.contract.city import Cities, Clocks
from shared.contract.event import Command, Event, Message, Rejected
from shared.contract.terms import ActorId, DeskKind, Place, Sealed, Situation


class OpenCall(Command):
    """A counsellor takes the call."""

    counsellor: ActorId
    caller: Sealed | None = None


class RecordPlace(Command):
    """Where the person is, as far as it is known now."""

    place: Place


class RecordBrief(Command):
    """What a desk needs to know of the person."""

    brief: Sealed


class RecordScreening(Command):
    """Answers to an instrument; `danger` if one of them starts the ledger's clocks.

    `answered`: it was kept while the store was silent and rang from memory, and people answered so.
    """

    screening: UUID
    answers: Sealed
    danger: bool
    by: ActorId
    answered: tuple[AlarmAnswer, ...] | None = None


class Escalate(Command):
    """F9: send people, whatever else is known. Never refused. `answered` as in RecordScreening."""

    by: ActorId
    desks: tuple[DeskKind, ...] = ()
    reason: Sealed | None = None
    answered: tuple[AlarmAnswer, ...] | None = None


class EndCall(Command):
    """The conversation is over, by agreement or because the line was lost."""

    how: CallEnding
    by: ActorId


class PlanFollowUp(Command):
    """When to ask after the person again."""

    follow_ups: tuple[FollowUp, ...]
    by: ActorId


class CallUnknown(Rejected):
    """Nobody opened this call."""

    status = 404

    def __init__(self) -> None:
        super().__init__("call_unknown", "Nobody opened this call. Open it with PUT first, or escalate by hand (F9).")


class CallStatus(StrEnum):
    """Where the conversation stands."""

    NEW = "new"
    OPEN = "open"
    ENDED = "ended"


FACTS = (PlaceReported, BriefRecorded, ScreeningRecorded, EscalationRequested, FollowUpPlanned)
LEDGER = (
    *(WatchCleared, RescueAwaited, DeskConfirmed, AlarmRaised, AlarmSounded, AlarmPassedOn),
    *(AlarmClaimed, AlarmReleased, AlarmSettled),
)

ALLOWED: Mapping[CallStatus, Mapping[type[Event], CallStatus]] = {
    CallStatus.NEW: {CallReceived: CallStatus.OPEN, **dict.fromkeys(LEDGER, CallStatus.NEW)},
    CallStatus.OPEN: {
        CallReceived: CallStatus.OPEN,
        CallEnded: CallStatus.ENDED,
        **dict.fromkeys((*FACTS, *LEDGER), CallStatus.OPEN),
    },
    # Facts still come in after the line is gone, and a danger noticed late is a danger.
    CallStatus.ENDED: {CallReceived: CallStatus.ENDED, **dict.fromkeys((*FACTS, *LEDGER), CallStatus.ENDED)},
}
"""What may happen to a call."""


@dataclass(frozen=True)
class Call:
    """All that intake knows of one call; personal data only as ciphertext."""

    status: CallStatus = CallStatus.NEW
    case: UUID | None = None
    city: str | None = None
    counsellor: str | None = None
    caller: str | None = None
    place: Place = field(default_factory=Place)
    brief: str | None = None
    ending: CallEnding | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    alarm: AlarmRow = field(default_factory=AlarmRow)

    @property
    def situation(self) -> Situation:
        """What travels with whatever calls for help."""
        return Situation(place=self.place, brief=self.brief, counsellor=self.counsellor)


def decide(cities: Cities, call: Call, message: Message, now: datetime) -> tuple[Event, ...]:
    heading = EventHeading(case=message.case, city=message.city, at=now)
    match message:
        case RecordScreening(answered=tuple() as answers) | Escalate(answered=tuple() as answers):
            cried = decide(cities, call, message.model_copy(update={"answered": None}), now)
            return (*cried, *alarm.replay_answers(reduce(evolve, cried, call).alarm, answers, heading))
        case OpenCall():
            return _open(call, message, heading)
        case Escalate():
            return _escalate(call, message, heading)
        case RecordPlace() | RecordBrief() | RecordScreening() | EndCall() | PlanFollowUp():
            if call.status is CallStatus.NEW or call.city != message.city:
                raise CallUnknown
            return _record(call, message, heading)
        case ClaimAlarm() | ReleaseAlarm() | SettleAlarm() if call.city != message.city:
            raise CallUnknown
    return alarm.decide(call.alarm, message, now, *_policy(cities, message.city))


def _open(call: Call, command: OpenCall, heading: EventHeading) -> tuple[Event, ...]:
    received = CallReceived(**heading, counsellor=command.counsellor, caller=command.caller)
    if call.status is CallStatus.NEW:
        return (received,)
    if call.counsellor != command.counsellor:
        raise Rejected("call_exists", f"This call is open with {call.counsellor}. Use a new case id for another call.")
    if command.caller is None or command.caller == call.caller:
        return ()
    # F9 may have opened it before the number was known.
    if call.caller is None:
        return (received,)
    raise Rejected("call_exists", "This call is open with another caller's number. Use a new case id for another call.")


def _escalate(call: Call, command: Escalate, heading: EventHeading) -> tuple[Event, ...]:
    opening = (CallReceived(**heading, counsellor=command.by),) if call.status is CallStatus.NEW else ()
    situation = evolve(call, opening[0]).situation if opening else call.situation
    asked = EscalationRequested(
        **heading, by=command.by, desks=command.desks, reason=command.reason, situation=situation
    )
    return (*opening, asked)


def _record(
    call: Call, command: RecordPlace | RecordBrief | RecordScreening | EndCall | PlanFollowUp, heading: EventHeading
) -> tuple[Event, ...]:
    match command:
        case RecordPlace(place=place):
            return () if place == call.place else (PlaceReported(**heading, place=place),)
        case RecordBrief(brief=brief):
            return (BriefRecorded(**heading, brief=brief),)
        case RecordScreening():
            facts = command.model_dump(include={"screening", "answers", "danger"})
            return (ScreeningRecorded(**heading, **facts, situation=call.situation),)
        case EndCall():
            return _end(call, command, heading)
        case PlanFollowUp(follow_ups=follow_ups, by=by):
            planned = FollowUpPlanned(**heading, follow_ups=follow_ups, by=by)
            return () if follow_ups == call.follow_ups else (planned,)


def _end(call: Call, command: EndCall, heading: EventHeading) -> tuple[Event, ...]:
    if call.ending is None:
        return (CallEnded(**heading, how=command.how, by=command.by),)
    if call.ending is command.how:
        return ()
    raise Rejected("call_ended", f"This call has ended already: {call.ending}. Nothing more to do.")


def evolve(call: Call, event: Event) -> Call:
    """The call after `event`. An event the table does not allow is a bug, hence KeyError."""
    call = replace(call, status=ALLOWED[call.status][type(event)], case=event.case, city=call.city or event.city)
    match event:
        case CallReceived():
            return replace(call, counsellor=event.counsellor, caller=event.caller)
        case PlaceReported():
            return replace(call, place=event.place)
        case BriefRecorded():
            return replace(call, brief=event.brief)
        case CallEnded():
            return replace(call, ending=event.how)
        case FollowUpPlanned():
            return replace(call, follow_ups=event.follow_ups)
    return replace(call, alarm=row.evolve(call.alarm, event))


def deadline(cities: Cities, call: Call) -> datetime | None:
    """When to look at the call again: only its ledger waits for anything."""
    return row.deadline(call.alarm, *_policy(cities, call.city))


def is_alarming(call: Call) -> bool:
    return call.alarm.alarming


def _policy(cities: Cities, code: str | None) -> tuple[Clocks, int]:
    """The city's clocks, and how many people it has told outside at the most."""
    return cities.line_clocks(code), len(cities.chain(code))
