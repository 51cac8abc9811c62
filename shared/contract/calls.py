"""What hotline_intake says: calls, screenings, places, escalations by hand, alarms, follow-up plans."""

from datetime import date
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contract.event import Event
from shared.contract.terms import ActorId, Code, DeskId, DeskKind, Place, RefNo, Sealed, Situation


class CallEvent(Event):
    """A fact about a call, or about the ledger that watches over it."""

    topic: ClassVar[str] = "hotline.calls"


class CallReceived(CallEvent):
    """来电接通. `caller` is the sealed callback number, if the exchange gave one."""

    counsellor: ActorId
    caller: Sealed | None = None


class PlaceReported(CallEvent):
    """位置更新."""

    place: Place


class BriefRecorded(CallEvent):
    """警情简报已填写."""

    brief: Sealed


class ScreeningRecorded(CallEvent):
    """筛查已保存. `danger` starts the ledger's clocks in the commit that saves it."""

    screening: UUID
    answers: Sealed
    danger: bool
    situation: Situation


class EscalationRequested(CallEvent):
    """人工升级 (F9). `desks` are the kinds asked for; empty leaves the choice to the playbook."""

    by: ActorId
    desks: tuple[DeskKind, ...] = ()
    reason: Sealed | None = None
    situation: Situation


class CallEnding(StrEnum):
    """How a call stopped: by agreement, or the line was lost."""

    COMPLETED = "completed"
    LOST = "lost"


class CallEnded(CallEvent):
    """通话结束."""

    how: CallEnding
    by: ActorId


class FollowUp(BaseModel):
    """One planned contact after the crisis; `agreed` is False where the person refused it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    due: date
    agreed: bool = True


class FollowUpPlanned(CallEvent):
    """随访计划已定: next day, one week, one, three and twelve months, refusals included."""

    follow_ups: tuple[FollowUp, ...]
    by: ActorId


class WatchCleared(CallEvent):
    """The assessment of the saved answers came and asks for nobody on site: the ledger row is closed."""


class RescueAwaited(CallEvent):
    """The ledger knows which desks were called out and waits for each to accept."""

    desks: tuple[DeskId, ...]


class DeskConfirmed(CallEvent):
    """A desk the ledger waited for has accepted, or has ended its part."""

    desk: DeskId


class AlarmRaised(CallEvent):
    """人工告警响起: pick up the phone for these desks now. `because` names the silence: unassessed, unordered, unaccepted."""

    desks: tuple[DeskId, ...]
    because: Code


class AlarmClaimed(CallEvent):
    """"我来打": a named person phones this desk; the machine holds until settled, released or lapsed."""

    desk: DeskId
    by: ActorId


class AlarmReleased(CallEvent):
    """The claim is over without an answer, given back or lapsed: it rings again, and the machine sends again."""

    desk: DeskId
    because: Code


class AlarmSettled(CallEvent):
    """The desk has it, told by phone: their officer and event number, taken down by `by`."""

    desk: DeskId
    by: ActorId
    officer: RefNo
    event_no: RefNo
