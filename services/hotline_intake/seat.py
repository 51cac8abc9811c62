"""A seat at work on one call: who asks for what, sealing what is personal, and the answer."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel

from services.hotline_intake import acts
from services.hotline_intake.call import Call
from services.hotline_intake.requests import Case
from services.hotline_intake.views import CallFile, CallView, KeptView, call_view
from shared.contract.city import City
from shared.contract.event import Command
from shared.kernel.clock import now
from shared.kernel.machine.keeper import IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.machine.vault import Unreadable
from shared.kernel.process import web
from shared.kernel.process.service import Kit

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    for status, words in {
        401: "unauthorised, actor_needed 未认证",
        404: "unknown_city, call_unknown 未找到",
        409: "An illegal move 状态不允许; nothing was written",
        422: "The request makes no sense as it stands 请求有误; nothing was written",
        503: "unavailable: send the same request with the same Idempotency-Key again 请用同一幂等键重试",
    }.items()
}
"""What every route may refuse with, for its OpenAPI."""


KEPT: dict[int | str, dict[str, Any]] = {
    202: {"model": KeptView, "description": "The store is silent: kept in the journal, people are rung 已存入本机日志"}
}
"""What these routes answer while the store is silent."""


@dataclass(frozen=True)
class Asking:
    """One act of one person on one call; `by` is who proved to act, whatever the body says."""

    city: str
    case: UUID
    by: str
    cause: IdempotencyKey
    at: datetime

    def act(self, what: acts.What, body: BaseModel, *, drill: bool = False) -> acts.Act:
        """The same as the journal keeps it."""
        cause = self.cause
        return acts.Act(
            what=what,
            city=self.city,
            case=self.case,
            by=self.by,
            at=self.at,
            id=cause.id,
            fingerprint=cause.fingerprint,
            drill=cause.drill or drill,
            body=body.model_dump(mode="json", exclude_none=True),
        )


async def _asking(city: str, case: Case, actor: web.Actor, asked: web.ActKey) -> Asking:
    return Asking(city, case, actor, asked, now())


Act = Annotated[Asking, Depends(_asking)]
"""The act behind a request."""


@dataclass(frozen=True)
class Seat:
    """One call as a seat works on it. Raises UnknownCity where no such line is kept here."""

    kit: Kit
    calls: Keeper[Call]
    code: str
    case: UUID

    @property
    def city(self) -> City:
        """The pack of the line that took the call."""
        return web.city_pack(self.kit.cities, self.code)

    async def tell(self, command: Command, cause: IdempotencyKey) -> CallView:
        """The call after it learnt `command`."""
        return self.view((await self.calls.learn(command, cause)).state)

    def view(self, call: Call) -> CallView:
        """The call without personal data."""
        return call_view(self.city, self.case, call)

    async def call(self) -> Call | None:
        """The call as it stands, if this city's line knows it."""
        call = await self.calls.get(Address(str(self.case), self.code))
        return call if call and call.city == self.code else None

    async def seal(self, field: str, value: Any) -> str:
        """`value` as ciphertext. A number sealed twice reads differently, so the same number keeps its first one."""
        before = await self.call() if field == "caller" else None
        if before and before.caller and value == await self.unseal("caller", before.caller):
            return before.caller
        return await self.kit.vault.seal(self.case, field, value, city=self.code)

    async def unseal(self, field: str, sealed: str | None) -> Any:
        """The value again; None stays None. Raises Unreadable."""
        return None if sealed is None else await self.kit.vault.unseal(self.case, field, sealed, city=self.code)

    async def file(self, call: Call) -> CallFile:
        """The call with its personal data, as far as it opens here."""
        opened: dict[str, Any] = {}
        sealed: list[str] = []
        for field, value in (("caller", call.caller), ("place", call.place.text), ("brief", call.brief)):
            try:
                opened[field] = await self.unseal(field, value)
            except Unreadable:
                sealed.append(field)
        return CallFile(
            **self.view(call).model_dump(),
            caller=opened.get("caller"),
            place_text=opened.get("place"),
            brief=opened.get("brief"),
            sealed=tuple(sealed),
        )
