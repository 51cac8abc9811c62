"""Every route of a seat at work on a call: opening and reading it, what is learnt in it, F9, and how it ends."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Response

from services.hotline_intake.acts import (
    CallOpening,
    Ending,
    Escalation,
    FollowUpPlan,
    PlaceHeard,
    Screening,
    WrittenBrief,
)
from services.hotline_intake.call import Call, CallStatus, CallUnknown
from services.hotline_intake.lenient import Ignored
from services.hotline_intake.seat_act import SeatAct, SeatActRequest
from services.hotline_intake.seat_call import SeatCall
from services.hotline_intake.seat_request import Asked, Case, Listens
from services.hotline_intake.storeless.acceptance import Acceptance
from services.hotline_intake.views import (
    KEPT,
    PROBLEMS,
    CallFile,
    CallView,
    KeptView,
    ScreeningSaved,
    call_file,
    call_view,
    seat_answer,
)
from shared.contract.city import City
from shared.contract.event import Rejected
from shared.kernel.machine.keeper import Keeper, Learned
from shared.kernel.machine.machine import Address
from shared.kernel.process import web
from shared.kernel.process.service import Kit

PHONE_NOW = "若有人正处于危险，请立即拨打 110。 If somebody is in danger, phone 110 now."


class Take(Protocol):
    """Takes an act and answers it; what was `ignored` of it is said in the answer."""

    def __call__(
        self, request: SeatActRequest, response: Response, ignored: Ignored = ()
    ) -> Awaitable[CallView | KeptView]: ...


class NoSuchLine(web.NotFound):
    """A cry for help on a line without a pack."""


def routes(kit: Kit, calls: Keeper[Call], acceptance: Acceptance) -> APIRouter:
    """What a seat does. What is taken is kept in the journal while the store is silent; what is learnt waits for it."""
    router = APIRouter(prefix="/cities/{city}/calls/{case}", tags=["calls 来电"], responses=PROBLEMS)

    async def take(request: SeatActRequest, response: Response, ignored: Ignored = ()) -> CallView | KeptView:
        web.city_pack(kit.cities, request.city)
        return seat_answer(kit.cities, request, await acceptance.take(request), response, ignored)

    def seat_call(city: str, case: UUID) -> SeatCall:
        return SeatCall(calls, kit.vault, Address(str(case), web.city_pack(kit.cities, city).code))

    @router.put(
        "",
        summary="Open a call 接通来电",
        status_code=201,
        responses=KEPT | {200: {"model": CallView}},
        openapi_extra=_body_of(CallOpening),
    )
    async def put_call(city: str, listens: Listens, response: Response) -> CallView | KeptView:
        """Open the call, or find it open: 201 when it is new, 200 when it already was.

        A caller's number that is none is `ignored`.
        """
        request, ignored = await listens(CallOpening, web.city_pack(kit.cities, city))
        before = await acceptance.find_before(seat_call(request.city, request.case))
        try:
            outcome = await acceptance.take(request)
        except Rejected:  # perhaps opened at this moment, with the same number: sealed twice it reads differently
            outcome = await acceptance.take(request)
        known = isinstance(outcome, Learned) and outcome.already_applied
        response.status_code = 200 if known or (before and before.status is not CallStatus.NEW) else 201
        return seat_answer(kit.cities, request, outcome, response, ignored)

    @router.get("", summary="Read a call 查看来电")
    async def read_call(city: str, case: Case, _: web.Actor) -> CallFile:
        """The call with spoken number, ledger, and what the seat wrote down."""
        found = seat_call(city, case)
        call = await found.find()
        if call is None:
            raise CallUnknown
        return await call_file(kit.cities[city], case, call, found.unseal)

    _route_facts(router, take)
    _route_cries(router, kit, take)
    _route_ending(router, kit, calls, seat_call)
    return router


def _body_of(act: type[SeatAct], *, required: bool = True) -> dict[str, Any]:
    """The published shape of a body that is read leniently."""
    schema = {"schema": act.model_json_schema()}
    return {"requestBody": {"required": required, "content": {"application/json": schema}}}


def _route_facts(router: APIRouter, take: Take) -> None:
    """What is learnt in a call. It is taken after the line is gone, too."""

    @router.post("/places", summary="Record the place 记录位置", status_code=201, responses=KEPT)
    async def record_place(asked: Asked, body: PlaceHeard, response: Response) -> CallView | KeptView:
        """Record where the person is, as far as it is known now."""
        return await take(asked(body), response)

    @router.post("/briefs", summary="Record the brief 填写警情简报", status_code=201, responses=KEPT)
    async def record_brief(asked: Asked, body: WrittenBrief, response: Response) -> CallView | KeptView:
        """Record what desks need to know of the person; each desk is sent only the fields its kind may see."""
        return await take(asked(body), response)


def _route_cries(router: APIRouter, kit: Kit, take: Take) -> None:
    """Where a call for help may come: it is taken, with what can be used of it."""

    def pack(city: str) -> City:
        try:
            return web.city_pack(kit.cities, city)
        except web.UnknownCity as unknown:
            raise NoSuchLine("unknown_city", f"{unknown.detail} {PHONE_NOW}") from None

    @router.post(
        "/screenings",
        summary="Save a screening 保存筛查",
        status_code=201,
        responses=KEPT,
        openapi_extra=_body_of(Screening),
    )
    async def save_screening(city: str, listens: Listens, response: Response) -> ScreeningSaved | KeptView:
        """Save the answers. A danger-positive one starts the ledger's clocks in the same commit.

        It is taken whatever stands beside it, which is then `ignored`; it also opens a call that nobody opened.
        """
        request, ignored = await listens(Screening, pack(city))
        view = await take(request, response, ignored)
        if isinstance(view, KeptView):
            return view
        return ScreeningSaved(
            screening=request.screening,
            danger=request.act.urgent,
            spoken_number=view.spoken_number,
            call=view,
            ignored=ignored,
        )

    @router.post(
        "/escalations",
        summary="Escalate by hand 人工升级 (F9)",
        status_code=201,
        responses=KEPT,
        openapi_extra=_body_of(Escalation, required=False),
    )
    async def escalate_call(city: str, listens: Listens, response: Response) -> CallView | KeptView:
        """Send people, whatever else is known; it also opens a call that nobody opened. An empty body will do.

        What cannot be used is `ignored`: a desk that the city does not have, a field that nobody knows.
        """
        request, ignored = await listens(Escalation, pack(city))
        return await take(request, response, ignored)


def _route_ending(router: APIRouter, kit: Kit, calls: Keeper[Call], seat_call: Callable[[str, UUID], SeatCall]) -> None:
    async def learn(request: SeatActRequest) -> CallView:
        seal = seat_call(request.city, request.case).seal
        learned = await calls.learn(await request.act.command(request, seal, rang=False), request.key)
        return call_view(kit.cities[request.city], request.case, learned.state)

    @router.post("/end", summary="End the call 结束通话")
    async def end_call(asked: Asked, body: Ending) -> CallView:
        """Say how the conversation ended: completed, or lost. The people on site go on."""
        return await learn(asked(body))

    @router.post("/follow-up-plan", summary="Plan the follow-up 制定随访计划")
    async def plan_follow_up(asked: Asked, body: FollowUpPlan) -> CallView:
        """Plan the contacts after the crisis, refusals included. A later plan replaces an earlier one."""
        return await learn(asked(body))
