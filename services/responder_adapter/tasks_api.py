"""电话任务: the calls that people of ours have to make to desks, and what they take down."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict

from services.responder_adapter.call_script import ScriptLine, call_script
from services.responder_adapter.callout import ClaimTask, ReportRung, call_task
from services.responder_adapter.desk_reports_api import RefusedReport
from services.responder_adapter.disclosure import open_disclosure
from services.responder_adapter.sender import address_of, spoken_number_of
from services.responder_adapter.state import CallOut, LadderStep
from services.responder_adapter.status import CallOutStatus
from shared.contract.incidents import Purpose
from shared.contract.terms import Code, DeskId, RefNo, Rung, Tier, desk_kind
from shared.kernel.machine.keeper import Keeper
from shared.kernel.machine.open_instances import OpenInstances
from shared.kernel.process import web
from shared.kernel.process.service import Kit
from shared.kernel.process.web import ActKey, Actor, NotFound

CALLOUT = "/cities/{city}/callouts/{desk}/{case}/{n}"
N = Annotated[int, Path(ge=0, le=999)]


class CallTask(BaseModel):
    """One call to make: whom to dial, the number both sides say, since when, and who is at it."""

    model_config = ConfigDict(frozen=True)

    key: str
    case: UUID
    desk: DeskId
    n: int
    name: str
    number: str
    spoken_number: str
    purpose: Purpose
    to_cancel: bool
    tier: Tier | None
    since: datetime | None
    claimed_by: str | None


class CallOutView(CallTask):
    """A call-out as it stands. `script` is there as long as somebody may have to phone about it.

    `refused_report`: the newest report of its desk, on any call-out, that was refused since this process started.
    """

    wire: str | None
    status: CallOutStatus
    rung: Rung
    reasons: tuple[str, ...]
    accept_by: datetime | None
    officer: str | None
    event_no: str | None
    unit: str | None
    code: str | None
    attempt: int
    last_failure: str | None
    unreachable: bool
    cancel_reason: str | None
    steps: tuple[LadderStep, ...]
    disputes: tuple[LadderStep, ...]
    refused_report: RefusedReport | None = None
    script: tuple[ScriptLine, ...] = ()


class PhoneReport(BaseModel):
    """What the desk said on the phone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rung: Rung
    officer: RefNo | None = None
    event_no: RefNo | None = None
    unit: RefNo | None = None
    code: Code | None = None


def routes(kit: Kit, callouts: Keeper[CallOut], refused: Mapping[str, RefusedReport]) -> APIRouter:
    router = APIRouter(tags=["call tasks"])
    cities = kit.cities
    # A person may be in another city than the line, and that city's desks are kept with it: so all of them are looked
    # through at each poll, and only what moved since the last one is read.
    open_ones, one_reading = OpenInstances(callouts, cities), asyncio.Lock()

    async def known(city: str, desk: str, case: UUID, n: int) -> CallOut:
        web.city_pack(cities, city)
        callout = await callouts.get(address_of(cities, CallOut(case=case, city=city, desk=desk, n=n)))
        if callout is None or callout.city != city:
            raise NotFound("unknown_callout", "This line has no such call-out.")
        return callout

    Known = Annotated[CallOut, Depends(known)]  # noqa: N806

    @router.get("/cities/{city}/tasks")
    async def tasks(city: str, _: Actor) -> list[CallTask]:
        """The calls this line's people have to make now, longest open first."""
        web.city_pack(cities, city)
        async with one_reading:
            kept = (await open_ones.read()).values()
        mine = [one.state for one in kept if one.state.city == city and not one.drill and call_task(one.state)]
        return [CallTask.model_validate(_task(kit, callout)) for callout in sorted(mine, key=_since)]

    @router.get(CALLOUT)
    async def callout(_: Actor, of: Known) -> CallOutView:
        """How one call-out stands, with everything the desk has said, and what to say to it."""
        return await _view(kit, of, refused.get(of.desk))

    @router.post(f"{CALLOUT}/claims")
    async def claim(actor: Actor, of: Known, cause: ActKey) -> CallTask:
        """我来打: take the call. It lapses if nothing is reported in the city's time. 409 if another has it."""
        learned = await callouts.learn(ClaimTask(**_which(of), by=actor), cause)
        return CallTask.model_validate(_task(kit, learned.state))

    @router.post(f"{CALLOUT}/reports")
    async def report(taken: PhoneReport, actor: Actor, of: Known, cause: ActKey) -> CallOutView:
        """Take down what the desk said on the phone. Accepted needs officer and event_no; rejected, cleared a code."""
        said = ReportRung(**_which(of), by=actor, **taken.model_dump())
        return await _view(kit, (await callouts.learn(said, cause)).state, refused.get(of.desk))

    return router


def _which(callout: CallOut) -> dict[str, Any]:
    return {"case": callout.case, "city": callout.city, "desk": callout.desk, "n": callout.n}


def _since(callout: CallOut) -> float:
    return callout.taken_at.timestamp() if callout.taken_at else 0.0


def _task(kit: Kit, callout: CallOut) -> dict[str, Any]:
    known = kit.cities.desk_entry(callout.desk)
    return {
        "key": callout.key,
        **_which(callout),
        "name": known.name if known else desk_kind(callout.desk),
        "number": known.number if known else callout.number or desk_kind(callout.desk),
        "spoken_number": spoken_number_of(kit.cities, callout),
        "purpose": callout.purpose,
        "to_cancel": callout.status is CallOutStatus.STANDING_DOWN,
        "tier": callout.tier,
        "since": callout.taken_at,
        "claimed_by": callout.held_by,
    }


async def _view(kit: Kit, callout: CallOut, refused: RefusedReport | None) -> CallOutView:
    return CallOutView(
        **_task(kit, callout),
        wire=callout.wire,
        status=callout.status,
        rung=callout.rung,
        reasons=callout.reasons,
        accept_by=callout.accept_by,
        officer=callout.officer,
        event_no=callout.event_no,
        unit=callout.unit,
        code=callout.code,
        attempt=callout.attempt,
        last_failure=callout.failure,
        unreachable=callout.unreachable,
        cancel_reason=callout.cancel_reason,
        steps=callout.steps,
        disputes=callout.disputes,
        refused_report=refused,
        script=await _script(kit, callout),
    )


async def _script(kit: Kit, callout: CallOut) -> tuple[ScriptLine, ...]:
    if callout.status is CallOutStatus.ENDED or callout.wire is None:
        return ()
    known = kit.cities.desk_entry(callout.desk)
    told = await open_disclosure(kit.vault, callout, medical=known.medical if known else False)
    line = web.city_pack(kit.cities, callout.city)
    return call_script(callout, line, spoken_number_of(kit.cities, callout), brief=told.brief, place=told.place)
