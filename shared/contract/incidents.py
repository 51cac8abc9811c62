"""What dispatch says: incidents, the desks called out, their legs, and how it ended."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from shared.contract.event import Event
from shared.contract.terms import ActorId, Code, DeskId, Place, Rung, Situation, Tier, WrittenRefNo, callout_key


class IncidentEvent(Event):
    """A fact about the joint response to one person in danger."""

    service: ClassVar[str] = "dispatch"
    topic: ClassVar[str] = "dispatch.incidents"


class DeskEvent(IncidentEvent):
    """A fact about one call-out `case/desk/n`."""

    desk: DeskId
    n: int

    @property
    def subject(self) -> str:
        """The call-out."""
        return callout_key(self.case, self.desk, self.n)


class IncidentOpened(IncidentEvent):
    """联动事件成立. `desks` are all called out in the same decision, warnings left out. `by` escalated by hand."""

    tier: Tier | None = None
    reasons: tuple[Code, ...]
    situation: Situation
    desks: tuple[DeskId, ...]
    by: ActorId | None = None


class IncidentRaised(IncidentEvent):
    """A further assessment or escalation joined the open incident. Tier and reasons are the incident's from now on."""

    tier: Tier | None = None
    reasons: tuple[Code, ...]
    situation: Situation
    by: ActorId | None = None


class PlaceMoved(IncidentEvent):
    """The person's place changed while the incident is open."""

    place: Place


class Purpose(StrEnum):
    """What a desk is asked: to act, or (no place yet) to be warned by voice that it may be needed."""

    ACT = "act"
    WARN = "warn"


class CallOutOrdered(DeskEvent):
    """出警/出车请求. `n` starts at 1 and rises only by a recorded decision; a warning has n = 0.

    `number` is the phone number of the desk where no city pack names it (area code + short number).
    `by` and `because` record a person's decision to order again or another desk; without them the playbook decided.
    """

    purpose: Purpose = Purpose.ACT
    tier: Tier | None = None
    reasons: tuple[Code, ...]
    situation: Situation
    accept_by: datetime
    number: str | None = None
    by: ActorId | None = None
    because: Code | None = None


class CallOutCancelRequested(DeskEvent):
    """请求撤回: the desk decides whether it still can."""

    reason: Code
    by: ActorId


class LegChanged(DeskEvent):
    """处置线变化: dispatch has taken note of a desk's rung."""

    rung: Rung
    officer: WrittenRefNo | None = None
    event_no: WrittenRefNo | None = None
    code: Code | None = None


class CounsellingState(StrEnum):
    """线上心理疏导: the counselling leg."""

    ABSENT = "absent"
    ON_LINE = "on_line"
    LOST = "lost"
    ENDED = "ended"


class CallNoted(IncidentEvent):
    """What dispatch heard of a call before any danger. Topics overtake each other: a place, an ending or a follow-up
    plan may arrive before the assessment that opens the incident, and must not be lost by that.
    """

    place: Place | None = None
    counselling: CounsellingState | None = None
    follow_up: bool = False


class CounsellingChanged(IncidentEvent):
    """线上疏导处置线变化."""

    state: CounsellingState
    by: ActorId | None = None


class LegOverdue(DeskEvent):
    """A desk did not reach `rung` in the city's time."""

    rung: Rung


class ContactConfirmed(IncidentEvent):
    """A person at the scene or on the line has made sure of the person in danger."""

    by: ActorId


class AbsenceExplained(IncidentEvent):
    """Contact was not made, and a human said why."""

    reason: Code
    by: ActorId


class FollowUpNoted(IncidentEvent):
    """Dispatch knows that a follow-up plan exists."""


class IncidentClosed(IncidentEvent):
    """联动事件结案."""

    outcome: Code
    by: ActorId
