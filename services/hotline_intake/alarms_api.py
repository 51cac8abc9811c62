"""The alarms of a city: which desks a human must phone now, and who is doing it."""

from datetime import UTC, datetime

from fastapi import APIRouter

from services.hotline_intake.alarm import ClaimAlarm, ReleaseAlarm, SettleAlarm
from services.hotline_intake.call import Call
from services.hotline_intake.requests import DeskNamed, Settlement
from services.hotline_intake.seat import PROBLEMS, Act, Asking, Seat
from services.hotline_intake.views import AlarmView, CallView, alarm_views
from shared.kernel import web
from shared.kernel.keeper import Keeper
from shared.kernel.service import Kit

NEVER = datetime.max.replace(tzinfo=UTC)


def routes(kit: Kit, calls: Keeper[Call]) -> APIRouter:
    """Reading the alarms, and answering them."""
    router = APIRouter(prefix="/cities/{city}/alarms", tags=["alarms 人工告警"], responses=PROBLEMS)

    @router.get("", summary="Who must be phoned now 现在要打给谁")
    async def list_alarms(city: str, _: web.Actor) -> list[AlarmView]:
        """Every desk of this line's calls that rings or is being phoned, longest ringing first."""
        line = web.city(kit.cities, city)
        found = [view for call in await calls.listed(city) for view in alarm_views(kit.cities, line, call)]
        return sorted(found, key=lambda alarm: alarm.ringing_since or NEVER)

    async def obeyed(act: Asking, command: ClaimAlarm | ReleaseAlarm | SettleAlarm) -> CallView:
        return await Seat(kit, calls, web.city(kit.cities, act.city).code, act.case).tell(command, act.cause)

    @router.post("/{case}/claims", summary="I am phoning 我来打", status_code=201)
    async def claim(act: Act, body: DeskNamed) -> CallView:
        """Claim a ringing desk: the machine holds until you settle or release it, or the claim lapses."""
        return await obeyed(act, ClaimAlarm(case=act.case, city=act.city, desk=body.desk, by=act.by))

    @router.post("/{case}/releases", summary="I could not reach them 未打通", status_code=201)
    async def release(act: Act, body: DeskNamed) -> CallView:
        """Give your claim back: it rings again, and the machine sends again."""
        return await obeyed(act, ReleaseAlarm(case=act.case, city=act.city, desk=body.desk, by=act.by))

    @router.post("/{case}/settlements", summary="The desk has it 对方已接警", status_code=201)
    async def settle(act: Act, body: Settlement) -> CallView:
        """Write down the officer's and the event number that the desk gave on the phone: the alarm ends."""
        told = {"desk": body.desk, "officer": body.officer, "event_no": body.event_no}
        return await obeyed(act, SettleAlarm(case=act.case, city=act.city, by=act.by, **told))

    return router
