"""What people can see and ask of incidents over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict

from services.dispatch.incident import Incident, IncidentStatus
from services.dispatch.supervision import (
    CancelCallOut,
    CloseIncident,
    ConfirmContact,
    DeskOrKind,
    ExplainAbsence,
    NoIncident,
    OrderAgain,
    StandDown,
)
from services.dispatch.view import IncidentSummary, IncidentView, incident_summary, incident_view
from shared.contract.event import Command
from shared.contract.terms import Code
from shared.kernel.machine.keeper import IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.process import web
from shared.kernel.process.service import Kit
from shared.kernel.process.web import ActKey, Actor

ONE = "/cities/{city}/incidents/{case}"


class ActBody(BaseModel):
    """A request body."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DeskWish(ActBody):
    """A desk (140700-110) or a kind (110: the one where the person is), with the coded reason."""

    desk: DeskOrKind
    reason: Code


class ReasonGiven(ActBody):
    """A coded reason."""

    reason: Code


class EmptyBody(ActBody):
    """An act that needs no words."""


EMPTY = EmptyBody()


class Closing(ActBody):
    """The outcome, one of the published codes."""

    outcome: Code


def routes(kit: Kit, incidents: Keeper[Incident]) -> APIRouter:
    """The doors of dispatch. Acts answer with the incident after them; an illegal one is a 409 that says why."""

    async def known_city(city: str, _: Actor) -> None:
        web.city_pack(kit.cities, city)

    router = APIRouter(tags=["incidents 联动事件"], dependencies=[Depends(known_city)])

    async def after(command: Command, cause: IdempotencyKey) -> IncidentView:
        return incident_view(kit.cities, (await incidents.learn(command, cause)).state)

    @router.get("/cities/{city}/incidents", summary="列出处置中的联动事件 · List the open incidents")
    async def listed(city: str, actor: Actor) -> list[IncidentSummary]:
        """Longest open first; without personal data."""
        return [incident_summary(kit.cities, incident) for incident in await incidents.listed_states(city)]

    @router.get(ONE, summary="查看联动事件 · Show one incident")
    async def shown(city: str, case: UUID, actor: Actor) -> IncidentView:
        """Every leg with its rungs and times, and what is missing before it may be closed. 404 without an incident."""
        incident = await incidents.get(Address(str(case), city))
        if incident is None or incident.status is IncidentStatus.NONE:
            raise NoIncident("no_incident", "There is no incident of this call. Escalate it first (F9).")
        return incident_view(kit.cities, incident)

    @router.post(f"{ONE}/orders", summary="再次请求出警/出车 · Call a desk out again, or another one")
    async def order_again(city: str, case: UUID, wish: DeskWish, actor: Actor, asked: ActKey) -> IncidentView:
        """After that desk's last call-out was rejected, cancelled, not found or cleared; 409 `callout_still_open`."""
        return await after(OrderAgain(case=case, city=city, desk=wish.desk, reason=wish.reason, by=actor), asked)

    @router.post(f"{ONE}/cancellations", summary="请求撤回一个指挥台 · Ask one desk to stand down")
    async def cancel(city: str, case: UUID, wish: DeskWish, actor: Actor, asked: ActKey) -> IncidentView:
        """The desk answers whether it still can. 409 `act_in_progress` if it would leave nobody of its kind."""
        return await after(CancelCallOut(case=case, city=city, desk=wish.desk, reason=wish.reason, by=actor), asked)

    @router.post(f"{ONE}/stand-down", summary="请求全部撤回 · Ask every desk to stand down")
    async def stand_down(city: str, case: UUID, wish: ReasonGiven, actor: Actor, asked: ActKey) -> IncidentView:
        """409 `act_in_progress` while an act is in progress and contact is not confirmed."""
        return await after(StandDown(case=case, city=city, reason=wish.reason, by=actor), asked)

    _acts_on_the_ending(router, after)
    return router


def _acts_on_the_ending(router: APIRouter, after: Callable[[Command, IdempotencyKey], Awaitable[IncidentView]]) -> None:
    @router.post(f"{ONE}/contact", summary="确认见到本人 · Confirm contact with the person")
    async def confirm_contact(
        city: str, case: UUID, actor: Actor, asked: ActKey, wish: Annotated[EmptyBody, Body()] = EMPTY
    ) -> IncidentView:
        """For one of us who sees or hears the person safe. A desk's own report of contact needs no confirmation."""
        return await after(ConfirmContact(case=case, city=city, by=actor), asked)

    @router.post(f"{ONE}/absence", summary="说明为何未见到本人 · Explain why contact was not made")
    async def explain_absence(city: str, case: UUID, wish: ReasonGiven, actor: Actor, asked: ActKey) -> IncidentView:
        """409 `contact_confirmed` where somebody did make contact."""
        return await after(ExplainAbsence(case=case, city=city, reason=wish.reason, by=actor), asked)

    @router.post(f"{ONE}/closing", summary="结案 · Close the incident")
    async def close(city: str, case: UUID, wish: Closing, actor: Actor, asked: ActKey) -> IncidentView:
        """409 `cannot_close` names everything that is missing; GET shows the same list before you try."""
        return await after(CloseIncident(case=case, city=city, outcome=wish.outcome, by=actor), asked)
