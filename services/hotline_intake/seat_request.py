"""How an act arrives by HTTP: the case in its path, and who asks under which key."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from services.hotline_intake.acts import SeatAct, SeatActRequest, Unusable
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.process import web


async def _case(case: Annotated[str, Path(description="案件号: a UUIDv7 made by whoever opens the call")]) -> UUID:
    try:
        parsed = UUID(case)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != 7 or str(parsed) != case:
        raise Unusable("case_not_uuid7", "The case id in the path must be a UUIDv7 in lower-case hyphenated form.")
    return parsed


Case = Annotated[UUID, Depends(_case)]
"""The case id out of the path. Raises Rejected `case_not_uuid7`."""


async def _asked(
    request: Request, city: str, case: Case, actor: web.Actor, key: web.ActKey
) -> Callable[[SeatAct], SeatActRequest]:
    def asked(act: SeatAct) -> SeatActRequest:
        counted = "" if act.urgent else key.actor
        whole_key = IdempotencyKey(key.id, key.fingerprint, key.drill or act.is_drill, counted)
        return SeatActRequest(act, city, case, actor, request.app.state.now(), whole_key)

    return asked


Asked = Annotated[Callable[[SeatAct], SeatActRequest], Depends(_asked)]
"""Who asks, on which call and under which key; given the act in the body it is the whole request."""
