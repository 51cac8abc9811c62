"""The alarms of a city: which desks a human must phone now, and who is doing it."""

from datetime import UTC, datetime
from uuid import UUID

from fastapi import APIRouter, Response

from services.hotline_intake.acts import What
from services.hotline_intake.requests import DeskNamed, Settlement
from services.hotline_intake.seat import KEPT, PROBLEMS, Act
from services.hotline_intake.storeless.mirror import LedgerMirror
from services.hotline_intake.taking import Taking
from services.hotline_intake.views import (
    AlarmView,
    CallView,
    KeptView,
    alarm_views,
    row_view,
)
from shared.contract.city import Cities
from shared.contract.ledger import LedgerSnapshot
from shared.kernel.process import web
from shared.kernel.process.service import Kit

NEVER = datetime.max.replace(tzinfo=UTC)


def routes(taking: Taking, cities: Cities, mirror: LedgerMirror) -> APIRouter:
    """Reading the alarms, and answering them."""
    router = APIRouter(prefix="/cities/{city}/alarms", tags=["alarms 人工告警"], responses=PROBLEMS | KEPT)

    @router.get("", summary="Who must be phoned now 现在要打给谁")
    async def list_alarms(city: str, _: web.Actor) -> list[AlarmView]:
        """Every desk of this line's calls that rings or is being phoned, longest ringing first.

        `from_memory` marks what the store does not say, or not yet.
        """
        line = web.city_pack(cities, city)
        found = [
            view
            for call, from_memory in await mirror.alarming(city)
            for view in alarm_views(cities, line, call, from_memory=from_memory)
        ]
        return sorted(found, key=lambda alarm: alarm.ringing_since or NEVER)

    @router.post("/{case}/claims", summary="I am phoning 我来打", status_code=201)
    async def claim(act: Act, body: DeskNamed, response: Response) -> CallView | KeptView:
        """Claim a ringing desk: the machine holds until you settle or release it, or the claim lapses."""
        return await taking.take(act, What.CLAIM, body, response)

    @router.post("/{case}/releases", summary="I could not reach them 未打通", status_code=201)
    async def release(act: Act, body: DeskNamed, response: Response) -> CallView | KeptView:
        """Give your claim back: it rings again, and the machine sends again."""
        return await taking.take(act, What.RELEASE, body, response)

    @router.post("/{case}/settlements", summary="The desk has it 对方已接警", status_code=201)
    async def settle(act: Act, body: Settlement, response: Response) -> CallView | KeptView:
        """Write down the officer's and the event number that the desk gave on the phone: the alarm ends."""
        return await taking.take(act, What.SETTLEMENT, body, response)

    return router


def ledger_routes(kit: Kit, mirror: LedgerMirror) -> APIRouter:
    """The standing rows, for the auditor."""
    router = APIRouter(
        dependencies=[web.requires_peer_token(kit.settings.peer_token.get_secret_value())], include_in_schema=False
    )

    @router.get("/ledger")
    async def ledger() -> LedgerSnapshot:
        """Every standing row of every city of this service, drills too; from memory while the store is silent."""
        if not mirror.silent:
            await mirror.look()
        rows = [
            row_view(city, UUID(at.instance), row.call, drill=row.drill)
            for city in kit.cities.values()
            for at, row in mirror.standing(city.code)
        ]
        return LedgerSnapshot(rows=tuple(rows), from_memory=mirror.silent)

    return router
