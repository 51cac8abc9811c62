"""How an act arrives by HTTP: the case in its path, who asks under which key, and what of its body can be used."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.hotline_intake.lenient import NO_JSON, Ignored, parse_body
from services.hotline_intake.seat_act import SeatAct, SeatActRequest, Unusable
from shared.contract.city import City
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.process import web

log = structlog.get_logger()


async def _case(case: Annotated[str, Path(description="案件号: a UUIDv7 made by whoever opens the call")]) -> UUID:
    try:
        parsed = UUID(case)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != 7:
        raise Unusable(
            "case_not_uuid7",
            "案件号须为 UUIDv7；若有人正处于危险，请立即拨打 110。"
            " The case id in the path must be a UUIDv7; if somebody is in danger, phone 110 now.",
        )
    return parsed


Case = Annotated[UUID, Depends(_case)]
"""The case id out of the path. Raises Rejected `case_not_uuid7`."""


def _request(request: Request, city: str, case: UUID, key: IdempotencyKey, act: SeatAct) -> SeatActRequest:
    counted = "" if act.urgent else key.actor
    whole_key = IdempotencyKey(key.id, key.fingerprint, key.drill or act.is_drill, counted)
    return SeatActRequest(act, city, case, key.actor, request.app.state.now(), whole_key)


async def _asked(request: Request, city: str, case: Case, key: web.ActKey) -> Callable[[SeatAct], SeatActRequest]:
    def asked(act: SeatAct) -> SeatActRequest:
        return _request(request, city, case, key, act)

    return asked


Asked = Annotated[Callable[[SeatAct], SeatActRequest], Depends(_asked)]
"""Who asks, on which call and under which key; given the act in the body it is the whole request."""

Heard = tuple[SeatActRequest, Ignored]

Listening = Callable[[type[SeatAct], City], Awaitable[Heard]]


async def _listening(request: Request, city: str, case: Case, key: web.AnyKey) -> Listening:
    async def listening(kind: type[SeatAct], pack: City) -> Heard:
        told, unread = parse_body(await request.body())
        try:
            act, ignored = kind.read(told, pack)
        except ValidationError as invalid:
            _check_asker(request, key)
            raise RequestValidationError(_errors(invalid, unread)) from None
        if not act.urgent:
            _check_asker(request, key)
        heard = _request(request, city, case, key.key, act)
        ignored = (*unread, *ignored, *(("x-actor",) if key.key.actor == web.UNNAMED else ()))
        if ignored:
            log.warning("act_partly_ignored", signal="warning", case=str(case), what=act.kind, fields=ignored)
        return heard, ignored

    return listening


Listens = Annotated[Listening, Depends(_listening)]
"""The same where a cry for help may come: given what it should be, the request as far as it can be used, and what of it
was ignored. Raises RequestValidationError, or Rejected without a key or a name, on what cries for no help."""


def _check_asker(request: Request, key: web.AskedKey) -> None:
    """Raise ActorNeeded or KeyNeeded: what is no cry for help says who asks, and under which key."""
    if key.key.actor == web.UNNAMED:
        raise web.ActorNeeded
    if key.made_up and request.method == "POST":
        raise web.KeyNeeded


def _errors(invalid: ValidationError, unread: Ignored) -> list[Any]:
    if unread:
        return [{"type": "json_invalid" if unread == NO_JSON else "model_type", "loc": ("body",), "msg": ""}]
    return [{**error, "loc": ("body", *error["loc"])} for error in invalid.errors(include_url=False)]
