"""The seat's door for what is learnt in a call: answers, place, brief, and the wish for people on site."""

from uuid import uuid5

from fastapi import APIRouter, Response

from services.hotline_intake.acts import What
from services.hotline_intake.requests import Escalation, PlaceHeard, Screening
from services.hotline_intake.seat import KEPT, PROBLEMS, Act
from services.hotline_intake.taking import Taking
from services.hotline_intake.views import CallView, KeptView, ScreeningSaved
from shared.contract.instruments import has_danger
from shared.contract.terms import Brief


def routes(taking: Taking) -> APIRouter:
    """What a seat records in a call. Facts are taken after the line is gone, too."""
    router = APIRouter(prefix="/cities/{city}/calls/{case}", tags=["calls 来电"], responses=PROBLEMS | KEPT)

    @router.post("/screenings", summary="Save a screening 保存筛查", status_code=201)
    async def save_screening(act: Act, body: Screening, response: Response) -> ScreeningSaved | KeptView:
        """Save the answers. A danger-positive one starts the ledger's clocks in the same commit."""
        view = await taking.take(act, What.SCREENING, body, response)
        if isinstance(view, KeptView):
            return view
        return ScreeningSaved(
            screening=uuid5(act.cause.id, "screening"),
            danger=has_danger(body.answers),
            spoken_number=view.spoken_number,
            call=view,
        )

    @router.post("/places", summary="Record the place 记录位置", status_code=201)
    async def record_place(act: Act, body: PlaceHeard, response: Response) -> CallView | KeptView:
        """Record where the person is, as far as it is known now."""
        return await taking.take(act, What.PLACE, body, response)

    @router.post("/briefs", summary="Record the brief 填写警情简报", status_code=201)
    async def record_brief(act: Act, body: Brief, response: Response) -> CallView | KeptView:
        """Record what desks need to know of the person; each desk is sent only the fields its kind may see."""
        return await taking.take(act, What.BRIEF, body, response)

    @router.post("/escalations", summary="Escalate by hand 人工升级 (F9)", status_code=201)
    async def escalate(act: Act, response: Response, body: Escalation | None = None) -> CallView | KeptView:
        """Send people, whatever else is known; it also opens a call that nobody opened. An empty body will do."""
        return await taking.take(act, What.ESCALATION, body or Escalation(), response)

    return router
