"""What responder_adapter says: one desk asked to act, how it was reached, and what it answered."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contract.city import WireAbilities
from shared.contract.event import Event
from shared.contract.incidents import Purpose
from shared.contract.terms import ActorId, Code, DeskId, Rung, Situation, Tier, WrittenRefNo, callout_key


class OpenCallOut(BaseModel):
    """A call-out that nobody at its desk has yet, as the adapter shows it; `since` is when it took the order."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    case: UUID
    city: str
    desk: str
    n: int
    wire: str | None = None
    status: str | None = None
    since: datetime | None = None


class CallOutEvent(Event):
    """A fact about the call-out `case/desk/n`."""

    service: ClassVar[str] = "responder_adapter"
    topic: ClassVar[str] = "responder.callouts"

    desk: DeskId
    n: int

    @property
    def subject(self) -> str:
        """The call-out."""
        return callout_key(self.case, self.desk, self.n)


class CallOutTaken(CallOutEvent):
    """The adapter has the order and starts attempt 1 on `wire`; `token` fences the effect.

    Token 0: nothing leaves by machine, because the wire is phone (a call task is open) or a person phones already.
    `abilities` is what the wire can; events from before there was such a field are read by `past_abilities`.
    """

    wire: Code
    abilities: WireAbilities | None = None
    purpose: Purpose
    tier: Tier | None = None
    reasons: tuple[Code, ...]
    situation: Situation
    number: str | None = None
    token: int
    accept_by: datetime | None = None


def past_abilities(wire: str | None) -> WireAbilities:
    """What a wire could when only its name was written. Whether its desk could say status stood in the pack alone."""
    match wire:
        case "webhook":
            return WireAbilities(sends=True, cancels=True, reports=True)
        case "echo":
            return WireAbilities(sends=True)
    return WireAbilities()


class CallOutRetried(CallOutEvent):
    """A further attempt starts, under the same key and a higher token."""

    attempt: int
    token: int


class CallOutFailed(CallOutEvent):
    """An attempt ended without a definite answer; `reason` is refused, timeout, http_500 …"""

    attempt: int
    token: int
    reason: Code


class CallOutUnreachable(CallOutEvent):
    """送达失败: the desk's wire has given nothing for too long; sending goes on, people should phone."""

    reason: Code


class CallOutHeld(CallOutEvent):
    """A named person is phoning this desk: no attempt starts until settled, released or lapsed."""

    by: ActorId


class CallOutReleased(CallOutEvent):
    """The phone call led nowhere: the machine goes on."""

    because: Code


class CallOutRecovered(CallOutEvent):
    """The store was lost and is rebuilt, in this epoch; what the newest attempt came to may be lost with it."""

    epoch: int


class CallOutInquired(CallOutEvent):
    """The desk is being asked whether it has this call-out; sending waits for the answer."""

    token: int


class CallOutUncertain(CallOutEvent):
    """Nobody can say whether the desk has it: a person should phone, and no attempt starts meanwhile."""

    reason: Code


class CallOutCancelAsked(CallOutEvent):
    """The desk is being asked to stand down."""

    reason: Code
    by: ActorId


class CallOutCancelDelivered(CallOutEvent):
    """The desk knows of our wish, by its wire or told on the phone. Whether it still can is its own to say."""

    by: ActorId | None = None


class Report(CallOutEvent):
    """What a desk said, by any wire. `by` is our own person if it was taken down on the phone."""

    rung: ClassVar[Rung]

    by: ActorId | None = None
    officer: WrittenRefNo | None = None


class CallOutDelivered(Report):
    """已送达: a machine at the desk has it. Never reads as acceptance."""

    rung: ClassVar[Rung] = Rung.DELIVERED


class CallOutShown(Report):
    """已显示: it is on a dispatcher's screen."""

    rung: ClassVar[Rung] = Rung.SHOWN


class CallOutAccepted(Report):
    """已签收: a named person has it under the desk's own event number."""

    rung: ClassVar[Rung] = Rung.ACCEPTED

    event_no: WrittenRefNo


class CallOutRejected(Report):
    """已拒绝, with a coded reason."""

    rung: ClassVar[Rung] = Rung.REJECTED

    code: Code


class CallOutAssigned(Report):
    """已派单: a unit has it."""

    rung: ClassVar[Rung] = Rung.ASSIGNED

    unit: WrittenRefNo | None = None


class CallOutEnRoute(Report):
    """已出发."""

    rung: ClassVar[Rung] = Rung.EN_ROUTE


class CallOutArrived(Report):
    """已到场."""

    rung: ClassVar[Rung] = Rung.ARRIVED


class CallOutContactMade(Report):
    """见到本人."""

    rung: ClassVar[Rung] = Rung.CONTACT


class CallOutNotFound(Report):
    """未找到本人."""

    rung: ClassVar[Rung] = Rung.NOT_FOUND


class CallOutTransporting(Report):
    """转运中."""

    rung: ClassVar[Rung] = Rung.TRANSPORTING


class CallOutHandedOver(Report):
    """已移交."""

    rung: ClassVar[Rung] = Rung.HANDED_OVER


class CallOutCleared(Report):
    """处置完毕, with a coded disposition."""

    rung: ClassVar[Rung] = Rung.CLEARED

    code: Code


class CallOutCancelled(Report):
    """已撤回: the desk agreed to stand down."""

    rung: ClassVar[Rung] = Rung.CANCELLED


class ReportDisputed(CallOutEvent):
    """A report that cannot stand beside what is known, kept and shown: a second acceptance, a late rejection."""

    rung_said: Rung
    event_no: WrittenRefNo | None = None
    code: Code | None = None
    by: ActorId | None = None


REPORTS: dict[Rung, type[Report]] = {report.rung: report for report in Report.__subclasses__()}
"""The event each reported rung is said with."""
