"""What a seat asks, in plain, as the journal keeps it: the same command comes of it now and after a silence."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from services.hotline_intake.alarm.decide import ClaimAlarm, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import Escalate, OpenCall, RecordBrief, RecordPlace, RecordScreening
from services.hotline_intake.requests import (
    CallOpening,
    DeskNamed,
    Escalation,
    PlaceHeard,
    Screening,
    Settlement,
    Unusable,
)
from shared.contract.city import Cities, City
from shared.contract.event import Command
from shared.contract.instruments import check_answers, has_danger
from shared.contract.terms import Brief, Place, desk_kind
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.machine.machine import Address
from shared.kernel.process import web

Seal = Callable[[str, Any], Awaitable[str]]
"""Gives a field of the case as ciphertext. Raises Unavailable where the case's key cannot be fetched."""


UNSEEN = "s1." + "A" * 40
"""What stands in memory for a sealed field: the row does not need it, and its key may be in the silent store."""


class What(StrEnum):
    """What can be kept while the store is silent."""

    OPENING = "opening"
    SCREENING = "screening"
    ESCALATION = "escalation"
    PLACE = "place"
    BRIEF = "brief"
    CLAIM = "claim"
    RELEASE = "release"
    SETTLEMENT = "settlement"


BODIES: dict[What, type[BaseModel]] = {
    What.OPENING: CallOpening,
    What.SCREENING: Screening,
    What.ESCALATION: Escalation,
    What.PLACE: PlaceHeard,
    What.BRIEF: Brief,
    What.CLAIM: DeskNamed,
    What.RELEASE: DeskNamed,
    What.SETTLEMENT: Settlement,
}

ANSWERS = frozenset({What.CLAIM, What.RELEASE, What.SETTLEMENT})


class Act(BaseModel):
    """One act of one person on one call, with its body in plain; it exists in memory and sealed in the journal."""

    model_config = ConfigDict(frozen=True)

    what: What
    city: str
    case: UUID
    by: str
    at: datetime
    id: UUID
    fingerprint: str = ""
    drill: bool = False
    body: dict[str, Any] = {}

    @property
    def cause(self) -> IdempotencyKey:
        """Why it is learnt; the same for every attempt and every replay."""
        return IdempotencyKey(self.id, self.fingerprint, self.drill)

    @property
    def address(self) -> Address:
        """The call that it is about."""
        return Address(str(self.case), self.city)

    @property
    def opening(self) -> OpenCall:
        """Of a call whose own opening never got through: it is with whoever cried for help."""
        return OpenCall(case=self.case, city=self.city, counsellor=self.by)

    @property
    def urgent(self) -> bool:
        """Whether it is a cry for help: written down before anything else is tried, and rung if it cannot be learnt."""
        if self.what is What.SCREENING:
            return has_danger(self.body["answers"])
        return self.what is What.ESCALATION


async def unseen(_field: str, _value: object) -> str:
    """Seals nothing, for memory."""
    return UNSEEN


def sensible(act: Act, cities: Cities) -> None:
    """Raises Rejected if the act makes no sense as it stands, whatever the call is."""
    city = web.city_pack(cities, act.city)
    match BODIES[act.what].model_validate(act.body):
        case Screening(answers=answers):
            check_answers(answers)
        case Escalation(desks=desks):
            _check_desks(city, desks)
        case PlaceHeard(city=str() as code, area_code=None) if code not in cities:
            raise Unusable("area_code_needed", f"City {code} has no pack: send its `area_code` to reach its 110.")


async def commanded(act: Act, seal: Seal, *, rang: bool) -> Command:
    """The command that a sensible act means; `rang` if its desk rang from memory. Raises what `seal` raises."""
    heading = {"case": act.case, "city": act.city}
    match BODIES[act.what].model_validate(act.body):
        case CallOpening(caller=caller):
            return OpenCall(**heading, counsellor=act.by, caller=caller and await seal("caller", caller))
        case Screening(answers=answers):
            found = {"screening": uuid5(act.id, "screening"), "danger": has_danger(answers)}
            return RecordScreening(**heading, **found, answers=await seal("answers", answers), by=act.by)
        case Escalation() as asked:
            reason = asked.reason and await seal("reason", asked.reason)
            return Escalate(**heading, by=act.by, desks=asked.desks, reason=reason)
        case PlaceHeard() as heard:
            text = heard.text and await seal("place", heard.text)
            return RecordPlace(**heading, place=Place(**heard.model_dump(exclude={"text"}), text=text))
        case Brief() as brief:
            return RecordBrief(**heading, brief=await seal("brief", brief.model_dump(exclude_none=True)))
        case Settlement() as told:
            return SettleAlarm(**heading, by=act.by, rang=rang, **told.model_dump())
        case DeskNamed(desk=desk) if act.what is What.CLAIM:
            return ClaimAlarm(**heading, by=act.by, desk=desk, rang=rang)
        case DeskNamed(desk=desk):
            return ReleaseAlarm(**heading, by=act.by, desk=desk)
    raise AssertionError(act.what)


def _check_desks(city: City, kinds: tuple[str, ...]) -> None:
    known = sorted({desk_kind(desk) for desk in city.desks})
    if not set(kinds) <= set(known):
        raise Unusable("desk_unknown", f"This city has the desks {', '.join(known)}. Name some of these, or none.")
