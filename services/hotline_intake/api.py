"""The seat's door to a call: opening it, reading it, ending it, planning what follows."""

from zoneinfo import ZoneInfo

from fastapi import APIRouter, Response

from services.hotline_intake import follow_up
from services.hotline_intake.acts import What
from services.hotline_intake.call import Call, CallStatus, CallUnknown, EndCall, PlanFollowUp
from services.hotline_intake.requests import CallOpening, Case, Ending, FollowUpPlan
from services.hotline_intake.seat import KEPT, PROBLEMS, Act, Seat
from services.hotline_intake.taking import Taking
from services.hotline_intake.views import CallFile, CallView, KeptView
from shared.kernel.machine.keeper import Keeper, Learned
from shared.kernel.process import web

HERE = ZoneInfo("Asia/Shanghai")


def routes(taking: Taking, calls: Keeper[Call]) -> APIRouter:
    """What a seat does with a call as a whole."""
    router = APIRouter(prefix="/cities/{city}/calls/{case}", tags=["calls 来电"], responses=PROBLEMS)
    kit, acceptance = taking.kit, taking.acceptance

    @router.put("", summary="Open a call 接通来电", status_code=201, responses=KEPT | {200: {"model": CallView}})
    async def put_call(act: Act, body: CallOpening, response: Response) -> CallView | KeptView:
        """Open the call, or find it open: 201 when it is new, 200 when it already was."""
        seat = Seat(kit, calls, web.city_pack(kit.cities, act.city).code, act.case)
        before = await acceptance.before(seat)
        outcome = await acceptance.take(act.act(What.OPENING, body, drill=body.drill))
        known = isinstance(outcome, Learned) and outcome.already_applied
        response.status_code = 200 if known or (before and before.status is not CallStatus.NEW) else 201
        return taking.answer(act, outcome, response)

    @router.get("", summary="Read a call 查看来电")
    async def read_call(city: str, case: Case, _: web.Actor) -> CallFile:
        """The call with spoken number, ledger, and what the seat wrote down."""
        seat = Seat(kit, calls, web.city_pack(kit.cities, city).code, case)
        call = await seat.call()
        if call is None:
            raise CallUnknown
        return await seat.file(call)

    @router.post("/end", summary="End the call 结束通话")
    async def end_call(act: Act, body: Ending) -> CallView:
        """Say how the conversation ended: completed, or lost. The people on site go on."""
        seat = Seat(kit, calls, web.city_pack(kit.cities, act.city).code, act.case)
        return await seat.tell(EndCall(case=act.case, city=act.city, how=body.how, by=act.by), act.cause)

    @router.post("/follow-up-plan", summary="Plan the follow-up 制定随访计划")
    async def plan_follow_up(act: Act, body: FollowUpPlan) -> CallView:
        """Plan the contacts after the crisis, refusals included. A later plan replaces an earlier one."""
        seat = Seat(kit, calls, web.city_pack(kit.cities, act.city).code, act.case)
        today = kit.now().astimezone(HERE).date()
        dates = body.dates(follow_up.standard_schedule(today), today)
        return await seat.tell(PlanFollowUp(case=act.case, city=act.city, follow_ups=dates, by=act.by), act.cause)

    return router
