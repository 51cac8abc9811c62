"""What hotline_intake says: calls, screenings, places, escalations by hand, alarms, follow-up plans."""

from datetime import date
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contract.event import Event
from shared.contract.terms import ActorId, Code, DeskId, DeskKind, Place, Sealed, Situation, WrittenRefNo


class CallEvent(Event):
    """A fact about a call, or about the ledger that watches over it."""

    service: ClassVar[str] = "hotline_intake"
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
    """The assessment of the saved answers came and asks for nobody on site: the ledger row is closed.

    `rang`: an alarm rang for it until now.
    """

    rang: bool = False


class RescueAwaited(CallEvent):
    """The ledger knows that these desks were called out (for the `n`-th time) and waits for each to accept.

    No desks: an escalation was heard and joined what is already under way.
    """

    desks: tuple[DeskId, ...]
    n: int = 1


class DeskConfirmed(CallEvent):
    """The ledger needs nothing more of call-out `n` to this desk: accepted (or further), or stood_down by ourselves.

    `rang`: its alarm rang, or somebody was phoning, until now.
    """

    desk: DeskId
    n: int = 1
    because: Code = "accepted"
    rang: bool = False


class AlarmRaised(CallEvent):
    """人工告警响起: phone these desks now.

    `because` names the silence: unassessed, unordered, unaccepted, store_silent, recovered.
    """

    desks: tuple[DeskId, ...]
    because: Code


class AlarmSounded(CallEvent):
    """外呼: the first `persons` of the city's chain are to be told, outside every screen, to phone these desks now.

    `ring` counts the soundings of this call.
    """

    desks: tuple[DeskId, ...]
    ring: int
    persons: int


class AlarmPassedOn(CallEvent):
    """外呼已送出: a channel took that ring for somebody. Without this it is soon repeated, to the next person too."""

    ring: int


class AlarmClaimed(CallEvent):
    """ "我来打": a named person phones this desk; the machine holds until settled, released or lapsed.

    `n` is the call-out the phone call stands for; 1 where no order was heard of yet.
    """

    urgent: ClassVar[bool] = True
    desk: DeskId
    n: int = 1
    by: ActorId


class AlarmReleased(CallEvent):
    """The claim is over without an answer, given back or lapsed: it rings again, and the machine sends again."""

    urgent: ClassVar[bool] = True
    desk: DeskId
    n: int = 1
    because: Code


class AlarmSettled(CallEvent):
    """The desk has it, told by phone: their officer and event number, taken down by `by`."""

    urgent: ClassVar[bool] = True
    desk: DeskId
    n: int = 1
    by: ActorId
    officer: WrittenRefNo
    event_no: WrittenRefNo
