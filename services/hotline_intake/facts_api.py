"""The seat's door for what is learnt in a call: answers, place, brief, and the wish for people on site."""

from uuid import uuid5

from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.hotline_intake.acceptance import Acceptance, Kept
from services.hotline_intake.acts import What
from services.hotline_intake.requests import Escalation, PlaceHeard, Screening
from services.hotline_intake.seat import KEPT, PROBLEMS, Act
from services.hotline_intake.views import CallView, KeptView, ScreeningSaved, call_view, kept_view
from shared.contract.instruments import dangerous
from shared.contract.terms import Brief
from shared.kernel import web
from shared.kernel.service import Kit


def routes(kit: Kit, acceptance: Acceptance) -> APIRouter:
    """What a seat records in a call. Facts are taken after the line is gone, too."""
    router = APIRouter(prefix="/cities/{city}/calls/{case}", tags=["calls 来电"], responses=PROBLEMS | KEPT)

    async def taken(act: Act, what: What, body: BaseModel, response: Response) -> CallView | KeptView:
        city = web.city(kit.cities, act.city)
        outcome = await acceptance.take(act.act(what, body))
        if isinstance(outcome, Kept):
            response.status_code = 202
            return kept_view(kit.cities, city, outcome.act, outcome.call)
        return call_view(city, act.case, outcome.state)

    @router.post("/screenings", summary="Save a screening 保存筛查", status_code=201)
    async def save_screening(act: Act, body: Screening, response: Response) -> ScreeningSaved | KeptView:
        """Save the answers. A danger-positive one starts the ledger's clocks in the same commit."""
        view = await taken(act, What.SCREENING, body, response)
        if isinstance(view, KeptView):
            return view
        return ScreeningSaved(
            screening=uuid5(act.cause.id, "screening"),
            danger=dangerous(body.answers),
            spoken_number=view.spoken_number,
            call=view,
        )

    @router.post("/places", summary="Record the place 记录位置", status_code=201)
    async def record_place(act: Act, body: PlaceHeard, response: Response) -> CallView | KeptView:
        """Record where the person is, as far as it is known now."""
        return await taken(act, What.PLACE, body, response)

    @router.post("/briefs", summary="Record the brief 填写警情简报", status_code=201)
    async def record_brief(act: Act, body: Brief, response: Response) -> CallView | KeptView:
        """Record what desks need to know of the person; each desk is sent only the fields its kind may see."""
        return await taken(act, What.BRIEF, body, response)

    @router.post("/escalations", summary="Escalate by hand 人工升级 (F9)", status_code=201)
    async def escalate(act: Act, response: Response, body: Escalation | None = None) -> CallView | KeptView:
        """Send people, whatever else is known; it also opens a call that nobody opened. An empty body will do."""
        return await taken(act, What.ESCALATION, body or Escalation(), response)

    return router
