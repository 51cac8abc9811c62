"""回执: what a desk's own system reports of its call-outs, signed with the desk's secret."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.responder_adapter.callout import ReportRung
from services.responder_adapter.state import CallOut
from services.responder_adapter.wires.signature import Unsigned, read_secret, verify
from shared.contract.city import Cities
from shared.contract.event import Rejected
from shared.contract.terms import Code, RefNo, Rung, callout_key
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.process.service import Kit
from shared.kernel.process.web import NotFound, Unauthorised

KEY = re.compile(r"([0-9a-fA-F-]{36})/(\d{6}-\d{3,5})/(\d{1,3})")


class NotYourCallOut(Rejected):
    """A desk speaks of another desk's call-out."""

    status = 403


class DeskReport(BaseModel):
    """One report of a desk. `at` is the desk's own time and decides nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(pattern=f"^{KEY.pattern}$", description="case/desk/n, as in the order")
    rung: Rung
    officer: RefNo | None = None
    event_no: RefNo | None = None
    unit: RefNo | None = None
    code: Code | None = None
    at: datetime | None = None


class ReportReceipt(BaseModel):
    """How the call-out stands now; `disputed` if this report contradicts it and was kept beside it."""

    model_config = ConfigDict(frozen=True)

    key: str
    rung: Rung
    disputed: bool


def routes(kit: Kit, callouts: Keeper[CallOut], environment: Mapping[str, str]) -> APIRouter:
    router = APIRouter(tags=["desks"])
    secrets = report_secrets(kit.cities, environment)

    @router.post("/desks/{desk}/reports")
    async def report(desk: str, request: Request) -> ReportReceipt:
        """Take down one report. The same webhook-id again changes nothing; a late report never moves a ladder back."""
        if kit.cities.desk_entry(desk) is None:
            raise NotFound("unknown_desk", "There is no such desk.")
        body = await request.body()
        webhook_id = check_signature(secrets.get(desk), request.headers, body, kit.now())
        said = parse_report(body)
        callout = await _known(kit, callouts, desk, said.key)
        learned = await callouts.learn(_command(callout, said), report_key(desk, webhook_id, said))
        now = learned.state
        disputed = any(step.rung is said.rung and step.event_no == said.event_no for step in now.disputes)
        return ReportReceipt(key=now.key, rung=now.rung, disputed=disputed)

    return router


def report_secrets(cities: Cities, environment: Mapping[str, str]) -> dict[str, str | None]:
    """By desk that reports, the secret it signs with; None where there is no usable one."""
    entries = {desk: entry for pack in cities.values() for desk, entry in pack.every_desk.items()}
    named = {desk: entry.wire.report_secret_env for desk, entry in entries.items()}
    return {desk: read_secret(environment, variable) for desk, variable in named.items() if variable is not None}


def check_signature(secret: str | None, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook-id of a body that the desk has signed. 401 without a word of why."""
    try:
        if secret is not None:
            return verify(secret, headers, body, now)
    except Unsigned:
        pass
    raise Unauthorised("unauthorised", "Unauthorised.")


def parse_report(body: bytes) -> DeskReport:
    """The report in a verified body; 400 if it is no JSON, 422 if it is no report."""
    try:
        return DeskReport.model_validate_json(body)
    except ValidationError as invalid:
        raise RequestValidationError(invalid.errors(include_url=False, include_context=False)) from None


def report_key(desk: str, webhook_id: str, said: DeskReport) -> IdempotencyKey:
    """The desk's own id makes a report one; when it was sent again does not make it another."""
    meaning = said.model_dump_json(exclude={"at"}).encode()
    return IdempotencyKey(uuid5(NAMES, f"report|{desk}|{webhook_id}"), hashlib.sha256(meaning).hexdigest()[:16])


async def _known(kit: Kit, callouts: Keeper[CallOut], desk: str, key: str) -> CallOut:
    case, of_desk, n = key.split("/")
    if of_desk != desk:
        raise NotYourCallOut("not_your_callout", "That call-out belongs to another desk.")
    try:
        named = callout_key(UUID(case), desk, int(n))
    except ValueError:
        raise _unknown() from None
    # A desk that signs has a pack, so its call-outs are kept with its own city.
    known = await callouts.get(Address(named, desk[:6]))
    if known is None or known.wire is None:
        raise _unknown()
    return known


def _unknown() -> NotFound:
    return NotFound("unknown_callout", "This desk was never asked that.")


def _command(callout: CallOut, said: DeskReport) -> ReportRung:
    assert callout.case is not None
    return ReportRung(
        case=callout.case,
        city=callout.city,
        desk=callout.desk,
        n=callout.n,
        rung=said.rung,
        officer=said.officer,
        event_no=said.event_no,
        unit=said.unit,
        code=said.code,
    )
