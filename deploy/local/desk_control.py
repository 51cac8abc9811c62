"""What people who play with a simulated desk can ask of it: its log, another behaviour, an answer at last."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.background import BackgroundTask

from deploy.local.desk_behaviour import Behaviour
from deploy.local.desk_book import Book
from deploy.local.desk_wire import Wire
from shared.contract.terms import Code

Apply = Callable[[bool], Awaitable[None]]
"""Makes the door follow the behaviour; told whether the asker came through that very door."""


class Health(BaseModel):
    """The desk is up; `down` says that its wire refuses connections because it was told so."""

    desk: str
    down: bool


class Log(BaseModel):
    """The desk's own log: per key what became of it, and every line as it was written."""

    desk: str
    callouts: dict[str, dict[str, Any]]
    lines: list[dict[str, Any]]


class LateAnswer(BaseModel):
    """A person at the desk takes up a call-out that lay there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    answer: Literal["accept", "reject"] = "accept"
    code: Code | None = None


def control_routes(wire: Wire, apply: Apply, own_port: int) -> APIRouter:
    """The same routes on the wire's own door (`own_port`) and on the control door."""
    router, book = APIRouter(), wire.book

    @router.get("/health/ready")
    async def ready() -> Health:
        return Health(desk=wire.desk, down=book.behaviour.down)

    @router.get("/log")
    async def log(key: str | None = None, lines: bool = True) -> Log:
        """All of it, or one key's part; `lines=false` leaves the lines out."""
        kept = [line for line in book.lines() if key in {None, line.get("key")}] if lines else []
        return Log(desk=wire.desk, callouts=book.summary(None if key is None else [key]), lines=kept)

    @router.get("/behaviour")
    async def behaviour() -> Behaviour:
        return book.behaviour

    @router.post("/behaviour")
    async def behave(told: dict[str, Any], request: Request) -> JSONResponse:
        """Change what is named, keep the rest. Orders already answered keep their answer."""
        changed = told_to(book, told)
        book.behave(wire.now(), changed)
        through_the_wire = request.scope["server"][1] == own_port
        if not through_the_wire:
            await apply(False)
        after = BackgroundTask(apply, True) if through_the_wire else None
        return JSONResponse(changed.model_dump(mode="json"), background=after)

    @router.post("/answer", status_code=202)
    async def answer(late: LateAnswer) -> None:
        """404 where no such call-out is known, 409 where it already has its answer."""
        callout = book.known(late.key)
        if not callout.taken:
            raise HTTPException(404, "This desk has no such call-out.")
        if callout.spoken_for:
            raise HTTPException(409, "This call-out already has its answer.")
        wire.decide(callout, late.answer, late.code)

    return router


def told_to(book: Book, told: dict[str, Any]) -> Behaviour:
    try:
        return book.behaviour.changed(told)
    except ValidationError as nonsense:
        raise RequestValidationError(nonsense.errors()) from None
