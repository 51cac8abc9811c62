"""The alarms of a city: which desks a human must phone now, and who is doing it; the ledger and the drill for peers."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

from fastapi import APIRouter, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict

from services.hotline_intake.acts import AlarmClaim, AlarmRelease, AlarmSettlement
from services.hotline_intake.call import Call, Escalate
from services.hotline_intake.seat_act import SeatActRequest
from services.hotline_intake.seat_request import Asked, Case
from services.hotline_intake.storeless.acceptance import Acceptance
from services.hotline_intake.storeless.mirror import LedgerMirror
from services.hotline_intake.views import (
    KEPT,
    PROBLEMS,
    AlarmView,
    CallView,
    KeptView,
    alarm_views,
    row_view,
    seat_answer,
)
from shared.contract.city import Cities
from shared.contract.ledger import LedgerSnapshot
from shared.contract.terms import ECHO
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.process import web
from shared.kernel.process.service import Kit

NEVER = datetime.max.replace(tzinfo=UTC)

DRILLED_BY = "auditor"


class DrillRequest(BaseModel):
    """When the auditor decided on this drill; the same moment again changes nothing again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime


def routes(cities: Cities, acceptance: Acceptance, mirror: LedgerMirror) -> APIRouter:
    router = APIRouter(prefix="/cities/{city}/alarms", tags=["alarms 人工告警"], responses=PROBLEMS | KEPT)

    async def take(request: SeatActRequest, response: Response) -> CallView | KeptView:
        web.city_pack(cities, request.city)
        return seat_answer(cities, request, await acceptance.take(request), response)

    @router.get("", summary="Who must be phoned now 现在要打给谁")
    async def list_alarms(city: str, _: web.Actor) -> list[AlarmView]:
        """Every desk of this line's calls that rings or is being phoned, longest ringing first.

        `from_memory` marks what the store does not say, or not yet.
        """
        line = web.city_pack(cities, city)
        found = [
            view
            for call, from_memory in await mirror.alarming_calls(city)
            for view in alarm_views(cities, line, call, from_memory=from_memory)
        ]
        return sorted(found, key=lambda alarm: alarm.ringing_since or NEVER)

    @router.post("/{case}/claims", summary="I am phoning 我来打", status_code=201)
    async def claim_alarm(asked: Asked, body: AlarmClaim, response: Response) -> CallView | KeptView:
        """Claim a ringing desk: the machine holds until you settle or release it, or the claim lapses."""
        return await take(asked(body), response)

    @router.post("/{case}/releases", summary="I could not reach them 未打通", status_code=201)
    async def release_alarm(asked: Asked, body: AlarmRelease, response: Response) -> CallView | KeptView:
        """Give your claim back: it rings again, and the machine sends again."""
        return await take(asked(body), response)

    @router.post("/{case}/settlements", summary="The desk has it 对方已接警", status_code=201)
    async def settle_alarm(asked: Asked, body: AlarmSettlement, response: Response) -> CallView | KeptView:
        """Write down the officer's and the event number that the desk gave on the phone: the alarm ends."""
        return await take(asked(body), response)

    return router


def peer_routes(kit: Kit, calls: Keeper[Call], mirror: LedgerMirror) -> APIRouter:
    """What the auditor asks, with its own token: the standing rows, and the minute drill 分钟演练."""
    router = APIRouter(dependencies=[web.requires_peer_token(kit.settings.peer_tokens)], include_in_schema=False)

    @router.get("/ledger")
    async def read_ledger() -> LedgerSnapshot:
        """Every standing row of every city of this service, drills too; from memory while the store is silent."""
        if not mirror.silent:
            await mirror.read_store()
        rows = [
            row_view(city, UUID(at.instance), row.call, drill=row.drill)
            for city in kit.cities.values()
            for at, row in mirror.standing_calls(city.code)
        ]
        return LedgerSnapshot(rows=tuple(rows), from_memory=mirror.silent)

    @router.post("/drills/{city}/{case}", status_code=202)
    async def start_drill(city: str, case: Case, body: DrillRequest) -> dict[str, str]:
        """F9 for a person who does not exist: only the echo desk is called out. Nobody is in danger, so the journal
        does not keep it."""
        command = Escalate(case=case, city=web.city_pack(kit.cities, city).code, by=DRILLED_BY, desks=(ECHO,))
        await calls.learn(command, IdempotencyKey(uuid5(NAMES, f"drill|{case}|{body.at.isoformat()}"), drill=True))
        return {"case": str(case)}

    return router
