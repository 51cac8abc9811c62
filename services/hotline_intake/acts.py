"""What a seat asks: one class an act, with its body in plain, its check, whether it cries for help, and its command."""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints

from services.hotline_intake.alarm.decide import ClaimAlarm, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import (
    EndCall,
    Escalate,
    OpenCall,
    PlanFollowUp,
    RecordBrief,
    RecordPlace,
    RecordScreening,
)
from services.hotline_intake.follow_up import standard_schedule
from services.hotline_intake.lenient import Ignored, usable_part
from services.hotline_intake.seat_act import Seal, SeatAct, SeatActRequest, Unusable
from shared.contract.calls import CallEnding, FollowUp
from shared.contract.city import Cities, City
from shared.contract.instruments import check_answers, has_danger, known_answers
from shared.contract.shown import folded_text
from shared.contract.terms import AreaCode, Brief, CityCode, Confidence, DeskId, DeskKind, Place, RefNo, desk_kind

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 -]{2,23}$"), BeforeValidator(folded_text)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]

HERE = ZoneInfo("Asia/Shanghai")


class CallOpening(SeatAct):
    """来电接通. `drill` marks an exercise 演练, for this call and all that follows from it."""

    kind = "opening"
    caller: Phone | None = Field(None, description="来电号码, callback number", examples=["13800000000"])
    drill: StrictBool = False

    @property
    def is_drill(self) -> bool:
        return self.drill

    @classmethod
    def read(cls, told: Mapping[str, Any], city: City) -> tuple[Self, Ignored]:
        """Whatever its caller's number looks like: the conversation has begun."""
        return usable_part(cls, told)

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> OpenCall:
        caller = self.caller and await seal("caller", self.caller)
        return OpenCall(**request.about, counsellor=request.by, caller=caller)


class Screening(SeatAct):
    """筛查: answers by instrument and item; an item that was not asked is left out."""

    kind = "screening"
    screens = True
    answers: dict[Name, dict[Name, StrictBool]] = Field(
        max_length=8, examples=[{"cssrs-screener/1": {"1": True, "2": True, "4": True}}]
    )

    @property
    def urgent(self) -> bool:
        return has_danger(self.answers)

    @classmethod
    def read(cls, told: Mapping[str, Any], city: City) -> tuple[Self, Ignored]:
        """Answers that mean danger are taken, whatever stands beside them."""
        answers, ignored = known_answers(told.get("answers"))
        if not has_danger(answers):
            return cls.model_validate(told), ()
        besides = ("…",) if told.keys() - cls.model_fields.keys() else ()
        return cls(answers=answers), (*(("answers",) if ignored else ()), *besides)

    def check(self, cities: Cities, city: City) -> None:
        if not self.urgent:
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

    @classmethod
    def read(cls, told: Mapping[str, Any], city: City) -> tuple[Self, Ignored]:
        """Always: with the desks that this city has, those of the playbook if none of them is named."""
        act, ignored = usable_part(cls, told)
        known = {desk_kind(desk) for desk in city.desks}
        desks = tuple(desk for desk in act.desks if desk in known)
        ignored = ignored if desks == act.desks else tuple(dict.fromkeys((*ignored, "desks")))
        return act.model_copy(update={"desks": desks}), ignored

    async def command(self, request: SeatActRequest, seal: Seal, *, rang: bool) -> Escalate:
        reason = self.reason and await seal("reason", self.reason)
        return Escalate(**request.about, by=request.by, desks=self.desks, reason=reason)


class AlarmClaim(SeatAct):
    """我来打: the desk that I am phoning now."""

    kind = "claim"
    answers_alarm = True
    claims = True
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
