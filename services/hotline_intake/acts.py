"""What a seat asks: one class an act, with its body in plain, its check, whether it cries for help, and its command."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

from services.hotline_intake.alarm.decide import ClaimAlarm, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import (
    Call,
    EndCall,
    Escalate,
    OpenCall,
    PlanFollowUp,
    RecordBrief,
    RecordPlace,
    RecordScreening,
)
from services.hotline_intake.follow_up import standard_schedule
from shared.contract.calls import CallEnding, FollowUp
from shared.contract.city import Cities, City
from shared.contract.event import Command, Rejected
from shared.contract.instruments import check_answers, has_danger
from shared.contract.shown import folded_text
from shared.contract.terms import AreaCode, Brief, CityCode, Confidence, DeskId, DeskKind, Place, RefNo, desk_kind
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.machine.machine import Address

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 -]{2,23}$"), BeforeValidator(folded_text)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]

Seal = Callable[[str, Any], Awaitable[str]]
"""Gives a field of the case as ciphertext. Raises Unavailable where the case's key cannot be fetched."""

HERE = ZoneInfo("Asia/Shanghai")


class Unusable(Rejected):
    """A request that makes no sense as it stands."""

    status = 422


class SeatAct(BaseModel):
    """The body of one act; unknown fields are refused. `kind` is its name in the journal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    answers_alarm: ClassVar[bool] = False

    @property
    def urgent(self) -> bool:
        """Whether it is a cry for help: written down before anything else is tried, and rung if it cannot be learnt."""
        return False

    @property
    def is_drill(self) -> bool:
        """Whether it marks its call as an exercise."""
        return False

    def check(self, cities: Cities, city: City) -> None:
        """Raises Rejected if the act makes no sense as it stands, whatever the call is."""

    async def command(self, request: "SeatActRequest", seal: Seal, *, rang: bool) -> Command:
        """The command that a sensible act means; `rang` if its desk rang from memory. Raises what `seal` raises."""
        raise NotImplementedError(self.kind)


@dataclass(frozen=True)
class SeatActRequest:
    """One act of one person on one call, in plain: it exists in memory, and sealed in the journal.

    `by` is who proved to act, whatever the body says. The key is the same for every attempt and every replay.
    """

    act: SeatAct
    city: str
    case: UUID
    by: str
    at: datetime
    key: IdempotencyKey

    @classmethod
    def from_journal(cls, entry: Mapping[str, Any]) -> "SeatActRequest":
        """The request that `to_journal` wrote. Raises ValidationError, KeyError or ValueError on any other entry."""
        return cls(
            act=ACTS[entry["what"]].model_validate(entry["body"]),
            city=entry["city"],
            case=UUID(entry["case"]),
            by=entry["by"],
            at=datetime.fromisoformat(entry["at"]),
            key=IdempotencyKey(UUID(entry["id"]), entry["fingerprint"], entry["drill"]),
        )

    def to_journal(self) -> dict[str, Any]:
        """Its names are on disks: a later release reads what an earlier one wrote."""
        return {
            "what": self.act.kind,
            "city": self.city,
            "case": str(self.case),
            "by": self.by,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "id": str(self.key.id),
            "fingerprint": self.key.fingerprint,
            "drill": self.key.drill,
            "body": self.act.model_dump(mode="json", exclude_none=True),
        }

    @property
    def address(self) -> Address:
        return Address(str(self.case), self.city)

    @property
    def about(self) -> dict[str, Any]:
        return {"case": self.case, "city": self.city}

    @property
    def screening(self) -> UUID:
        return uuid5(self.key.id, "screening")

    @property
    def opening(self) -> OpenCall:
        """Of a call whose own opening never got through: it is with whoever cried for help."""
        return OpenCall(**self.about, counsellor=self.by)


@dataclass(frozen=True)
class KeptInJournal:
    """What an act comes to while the store is silent: the call as memory has it."""

    request: SeatActRequest
    call: Call


class CallOpening(SeatAct):
    """来电接通. `drill` marks an exercise 演练, for this call and all that follows from it."""

    kind = "opening"
    caller: Phone | None = Field(None, description="来电号码, callback number", examples=["13800000000"])
    drill: StrictBool = False

    @property
    def is_drill(self) -> bool:
        return self.drill

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> OpenCall:
        caller = self.caller and await seal("caller", self.caller)
        return OpenCall(**request.about, counsellor=request.by, caller=caller)


class Screening(SeatAct):
    """筛查: answers by instrument and item; an item that was not asked is left out."""

    kind = "screening"
    answers: dict[Name, dict[Name, StrictBool]] = Field(
        max_length=8, examples=[{"cssrs-screener/1": {"1": True, "2": True, "4": True}}]
    )

    @property
    def urgent(self) -> bool:
        return has_danger(self.answers)

    def check(self, cities: Cities, city: City) -> None:
        check_answers(self.answers)

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> RecordScreening:
        answers = await seal(f"answers/{request.screening}", self.answers)
        return RecordScreening(
            **request.about, screening=request.screening, answers=answers, danger=self.urgent, by=request.by
        )


class PlaceHeard(SeatAct):
    """位置. Only a place that was read back 复述确认 with the caller routes call-outs."""

    kind = "place"
    confidence: Confidence
    city: CityCode | None = None
    area_code: AreaCode | None = Field(None, description="区号, needed for a city without a pack")
    text: Text | None = Field(None, description="地址, the address in words; kept sealed")

    def check(self, cities: Cities, city: City) -> None:
        if self.city is not None and self.area_code is None and self.city not in cities:
            raise Unusable("area_code_needed", f"City {self.city} has no pack: send its `area_code` to reach its 110.")

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> RecordPlace:
        text = self.text and await seal("place", self.text)
        return RecordPlace(**request.about, place=Place(**self.model_dump(exclude={"text"}), text=text))


class WrittenBrief(Brief, SeatAct):
    """警情简报: what desks need to know of the person."""

    kind = "brief"

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> RecordBrief:
        return RecordBrief(**request.about, brief=await seal("brief", self.model_dump(exclude_none=True)))


class Escalation(SeatAct):
    """人工升级 (F9). Nothing is needed; `desks` are short numbers such as 110, without any the playbook chooses."""

    kind = "escalation"
    desks: tuple[DeskKind, ...] = Field((), max_length=8)
    reason: Text | None = None

    @property
    def urgent(self) -> bool:
        return True

    def check(self, cities: Cities, city: City) -> None:
        known = sorted({desk_kind(desk) for desk in city.desks})
        if not set(self.desks) <= set(known):
            raise Unusable("desk_unknown", f"This city has the desks {', '.join(known)}. Name some of these, or none.")

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> Escalate:
        reason = self.reason and await seal("reason", self.reason)
        return Escalate(**request.about, by=request.by, desks=self.desks, reason=reason)


class AlarmClaim(SeatAct):
    """我来打: the desk that I am phoning now."""

    kind = "claim"
    answers_alarm = True
    desk: DeskId

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> ClaimAlarm:
        return ClaimAlarm(**request.about, by=request.by, desk=self.desk, rang=rang)


class AlarmRelease(SeatAct):
    """未打通: the desk that I could not reach."""

    kind = "release"
    answers_alarm = True
    desk: DeskId

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> ReleaseAlarm:
        return ReleaseAlarm(**request.about, by=request.by, desk=self.desk)


class AlarmSettlement(SeatAct):
    """对方已接警: who took it (警号), and under which event number (警情编号)."""

    kind = "settlement"
    answers_alarm = True
    desk: DeskId
    officer: RefNo
    event_no: RefNo

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> SettleAlarm:
        return SettleAlarm(**request.about, by=request.by, rang=rang, **self.model_dump())


class Ending(SeatAct):
    """通话结束."""

    kind = "ending"
    how: CallEnding

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> EndCall:
        return EndCall(**request.about, how=self.how, by=request.by)


class PlannedContact(FollowUp):
    """One planned contact; `agreed` is false where the person refused it."""

    model_config = ConfigDict(extra="forbid")

    agreed: StrictBool = True


class FollowUpPlan(SeatAct):
    """随访计划: either the standard schedule, or dates of your own."""

    kind = "follow_up_plan"
    standard: StrictBool = False
    follow_ups: tuple[PlannedContact, ...] = Field((), max_length=20)

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> PlanFollowUp:
        today = request.at.astimezone(HERE).date()
        if self.standard == bool(self.follow_ups):
            raise Unusable("follow_ups_needed", "Send either `standard: true` or at least one entry in `follow_ups`.")
        if any(planned.due < today for planned in self.follow_ups):
            raise Unusable("follow_up_in_the_past", f"A follow-up lies before today, {today}. Choose later dates.")
        own = sorted((FollowUp(**dict(planned)) for planned in self.follow_ups), key=lambda planned: planned.due)
        dates = standard_schedule(today) if self.standard else tuple(own)
        return PlanFollowUp(**request.about, follow_ups=dates, by=request.by)


ACTS: Mapping[str, type[SeatAct]] = {act.kind: act for act in SeatAct.__subclasses__()}
