"""What the auditor compares with: the call-outs that nobody at their desks has yet."""

import asyncio
from itertools import chain

from fastapi import APIRouter

from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from shared.contract.callouts import OpenCallOut
from shared.kernel.machine.keeper import Keeper
from shared.kernel.process import web
from shared.kernel.process.service import Kit


def routes(kit: Kit, callouts: Keeper[CallOut]) -> APIRouter:
    router = APIRouter(dependencies=[web.requires_peer_token(kit.settings.peer_tokens)], include_in_schema=False)

    @router.get("/callouts")
    async def every() -> list[OpenCallOut]:
        kept = await asyncio.gather(*(callouts.listed_states(home) for home in kit.cities))
        return [
            _open(one) for one in chain.from_iterable(kept) if one.status in {CallOutStatus.OPEN, CallOutStatus.HELD}
        ]

    return router


def _open(callout: CallOut) -> OpenCallOut:
    assert callout.case is not None
    return OpenCallOut(
        case=callout.case,
        city=callout.city,
        desk=callout.desk,
        n=callout.n,
        wire=callout.wire,
        status=callout.status,
        since=callout.taken_at,
    )
