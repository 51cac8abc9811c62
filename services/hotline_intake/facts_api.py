"""The seat's door for what is learnt in a call: answers, place, brief, and the wish for people on site."""

from uuid import uuid5

from fastapi import APIRouter

from services.hotline_intake.call import Call, Escalate, RecordBrief, RecordPlace, RecordScreening
from services.hotline_intake.requests import Escalation, PlaceHeard, Screening, Unusable
from services.hotline_intake.seat import PROBLEMS, Act, Seat
from services.hotline_intake.views import CallView, ScreeningSaved
from shared.contract.city import City
from shared.contract.instruments import check, dangerous
from shared.contract.terms import Brief, Place, desk_kind
from shared.kernel import web
from shared.kernel.keeper import Keeper
from shared.kernel.service import Kit


def routes(kit: Kit, calls: Keeper[Call]) -> APIRouter:
    """What a seat records in a call. Facts are taken after the line is gone, too."""
    router = APIRouter(prefix="/cities/{city}/calls/{case}", tags=["calls 来电"], responses=PROBLEMS)

    def seated(act: Act) -> Seat:
        return Seat(kit, calls, web.city(kit.cities, act.city).code, act.case)

    @router.post("/screenings", summary="Save a screening 保存筛查", status_code=201)
    async def save_screening(act: Act, body: Screening) -> ScreeningSaved:
        """Save the answers. A danger-positive one starts the ledger's clocks in the same commit."""
        seat = seated(act)
        check(body.answers)
        command = RecordScreening(
            case=act.case,
            city=act.city,
            screening=uuid5(act.cause.id, "screening"),
            answers=await seat.seal("answers", body.answers),
            danger=dangerous(body.answers),
            by=act.by,
        )
        view = await seat.tell(command, act.cause)
        return ScreeningSaved(
            screening=command.screening, danger=command.danger, spoken_number=view.spoken_number, call=view
        )

    @router.post("/places", summary="Record the place 记录位置", status_code=201)
    async def record_place(act: Act, body: PlaceHeard) -> CallView:
        """Record where the person is, as far as it is known now."""
        seat = seated(act)
        place = await _place(seat, body)
        return await seat.tell(RecordPlace(case=act.case, city=act.city, place=place), act.cause)

    @router.post("/briefs", summary="Record the brief 填写警情简报", status_code=201)
    async def record_brief(act: Act, body: Brief) -> CallView:
        """Record what desks need to know of the person; each desk is sent only the fields its kind may see."""
        seat = seated(act)
        sealed = await seat.seal("brief", body.model_dump(exclude_none=True))
        return await seat.tell(RecordBrief(case=act.case, city=act.city, brief=sealed), act.cause)

    @router.post("/escalations", summary="Escalate by hand 人工升级 (F9)", status_code=201)
    async def escalate(act: Act, body: Escalation | None = None) -> CallView:
        """Send people, whatever else is known; it also opens a call that nobody opened. An empty body will do."""
        seat, asked = seated(act), body or Escalation()
        _check_desks(seat.city, asked.desks)
        reason = asked.reason and await seat.seal("reason", asked.reason)
        command = Escalate(case=act.case, city=act.city, by=act.by, desks=asked.desks, reason=reason)
        return await seat.tell(command, act.cause)

    return router


async def _place(seat: Seat, heard: PlaceHeard) -> Place:
    if heard.city is not None and heard.city not in seat.kit.cities and heard.area_code is None:
        raise Unusable("area_code_needed", f"City {heard.city} has no pack: send its `area_code` to reach its 110.")
    text = heard.text and await seat.seal("place", heard.text)
    return Place(confidence=heard.confidence, city=heard.city, area_code=heard.area_code, text=text)


def _check_desks(city: City, kinds: tuple[str, ...]) -> None:
    known = sorted({desk_kind(desk) for desk in city.desks})
    if not set(kinds) <= set(known):
        raise Unusable("desk_unknown", f"This city has the desks {', '.join(known)}. Name some of these, or none.")
