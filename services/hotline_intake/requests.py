"""What a seat may send to intake: the bodies of its requests, in plain, before anything is sealed."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from shared.contract.calls import CallEnding, FollowUp
from shared.contract.event import Rejected
from shared.contract.terms import AreaCode, CityCode, Confidence, DeskId, DeskKind, RefNo

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9][0-9 -]{2,23}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]


class Request(BaseModel):
    """A body; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CallOpening(Request):
    """来电接通. `drill` marks an exercise 演练, for this call and all that follows from it."""

    caller: Phone | None = Field(None, description="来电号码, callback number", examples=["13800000000"])
    drill: StrictBool = False


class Screening(Request):
    """筛查: answers by instrument and item; an item that was not asked is left out."""

    answers: dict[Name, dict[Name, StrictBool]] = Field(
        max_length=8, examples=[{"cssrs-screener/1": {"1": True, "2": True, "4": True}}]
    )


class PlaceHeard(Request):
    """位置. Only a place that was read back 复述确认 with the caller routes call-outs."""

    confidence: Confidence
    city: CityCode | None = None
    area_code: AreaCode | None = Field(None, description="区号, needed for a city without a pack")
    text: Text | None = Field(None, description="地址, the address in words; kept sealed")


class Escalation(Request):
    """人工升级 (F9). Nothing is needed; `desks` are short numbers such as 110, without any the playbook chooses."""

    desks: tuple[DeskKind, ...] = Field((), max_length=8)
    reason: Text | None = None


class Ending(Request):
    """通话结束."""

    how: CallEnding


class FollowUpAgreed(Request):
    """One planned contact; `agreed` is false where the person refused it."""

    due: date
    agreed: StrictBool = True


class FollowUpPlan(Request):
    """随访计划: either the standard schedule, or dates of your own."""

    standard: StrictBool = False
    follow_ups: tuple[FollowUpAgreed, ...] = Field((), max_length=20)

    def dates(self, usual: tuple[FollowUp, ...], today: date) -> tuple[FollowUp, ...]:
        """The plan's contacts in order. Raises Rejected if there are none, both kinds, or some in the past."""
        if self.standard == bool(self.follow_ups):
            raise Unusable("follow_ups_needed", "Send either `standard: true` or at least one entry in `follow_ups`.")
        if any(planned.due < today for planned in self.follow_ups):
            raise Unusable("follow_up_in_the_past", f"A follow-up lies before today, {today}. Choose later dates.")
        own = (FollowUp(due=planned.due, agreed=planned.agreed) for planned in self.follow_ups)
        return usual if self.standard else tuple(sorted(own, key=lambda planned: planned.due))


class DeskNamed(Request):
    """The desk whose alarm it is."""

    desk: DeskId


class Settlement(DeskNamed):
    """The desk has it: who took it (警号), and under which event number (警情编号)."""

    officer: RefNo
    event_no: RefNo


class Unusable(Rejected):
    """A request that makes no sense as it stands."""

    status = 422


async def _case(case: Annotated[str, Path(description="案件号: a UUIDv7 made by whoever opens the call")]) -> UUID:
    try:
        parsed = UUID(case)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != 7 or str(parsed) != case:
        raise Unusable("case_not_uuid7", "The case id in the path must be a UUIDv7 in lower-case hyphenated form.")
    return parsed


Case = Annotated[UUID, Depends(_case)]
"""The case id out of the path. Raises Rejected `case_not_uuid7`."""
