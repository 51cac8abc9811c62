"""分钟演练: the auditor's door to F9, for a person who does not exist: only the echo desk is called out."""

from uuid import uuid5

from fastapi import APIRouter
from pydantic import AwareDatetime

from services.hotline_intake.call import Call, Escalate
from services.hotline_intake.requests import Case, Request
from shared.contract.terms import ECHO
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.process import web
from shared.kernel.process.service import Kit

BY = "auditor"


class DrillRequest(Request):
    """When the auditor decided on this drill; the same moment again changes nothing again."""

    at: AwareDatetime


def routes(kit: Kit, calls: Keeper[Call]) -> APIRouter:
    """One door, for the peer token. Nothing of it reaches the journal: nobody is in danger, so it may be refused."""
    router = APIRouter(
        dependencies=[web.requires_peer_token(kit.settings.peer_token.get_secret_value())], include_in_schema=False
    )

    @router.post("/drills/{city}/{case}", status_code=202)
    async def drill(city: str, case: Case, body: DrillRequest) -> dict[str, str]:
        command = Escalate(case=case, city=web.city_pack(kit.cities, city).code, by=BY, desks=(ECHO,))
        await calls.learn(command, IdempotencyKey(uuid5(NAMES, f"drill|{case}|{body.at.isoformat()}"), drill=True))
        return {"case": str(case)}

    return router
