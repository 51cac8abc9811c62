"""回执: what a desk's own system reports of its call-outs, signed with the desk's secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid5

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.responder_adapter.callout import ReportRung
from services.responder_adapter.desk_json import NotJson, ReadCode, ReadRefNo, Word, read_json
from services.responder_adapter.state import CallOut
from services.responder_adapter.wires.signature import ClockOff, Unsigned, read_secret, verify
from shared.contract.city import Cities
from shared.contract.event import Rejected
from shared.contract.shown import folded_text
from shared.contract.terms import Rung, callout_key
from shared.kernel.machine.fingerprint import Fingerprints
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.process.service import Kit
from shared.kernel.process.web import BadRequest, NotFound, Unauthorised

KEY = re.compile(r"[0-9a-fA-F-]{36}/[0-9]{6}-[0-9]{3,5}/[0-9]{1,3}")

log = structlog.get_logger()


class NotYourCallOut(Rejected):
    """A desk speaks of another desk's call-out."""

    status = 403


class NotAReport(Rejected):
    """A desk says something, and it cannot be made out what."""

    status = 422


class DeskReport(BaseModel):
    """One report of a desk. Nothing else that it sends is read, such as its own time: that decides nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: Annotated[str, BeforeValidator(folded_text), Field(pattern=f"^{KEY.pattern}$", description="as in the order")]
    rung: Annotated[Rung, Word]
    officer: ReadRefNo = None
    event_no: ReadRefNo = None
    unit: ReadRefNo = None
    code: ReadCode = None


@dataclass(frozen=True)
class RefusedReport:
    """What a desk was last refused: somebody has to tell them, or to phone."""

    at: datetime
    reason: str


class ReportReceipt(BaseModel):
    """How the call-out stands now; `disputed` if this report contradicts it and was kept beside it."""

    model_config = ConfigDict(frozen=True)

    key: str
    rung: Rung
    disputed: bool


def routes(
    kit: Kit, callouts: Keeper[CallOut], environment: Mapping[str, str], refused: dict[str, RefusedReport]
) -> APIRouter:
    """`refused` keeps each desk's newest refused report, for people to see."""
    router = APIRouter(tags=["desks"])
    secrets, fingerprints = report_secrets(kit.cities, environment), Fingerprints(kit.settings.masters)

    @router.post("/desks/{desk}/reports")
    async def report(desk: str, request: Request) -> ReportReceipt:
        """Take down one report. The same webhook-id again changes nothing; a late report never moves a ladder back."""
        body = await request.body()
        desk = desk if desk in secrets else "unknown"
        signed: dict[str, str] = {}
        try:
            signed["webhook_id"] = check_signature(desk, secrets.get(desk), request.headers, body, kit.now())
            said = parse_report(body)
            signed["key"] = said.key
            callout = await _known(kit, callouts, desk, said.key)
            learned = await callouts.learn(
                _command(callout, said), report_key(fingerprints, desk, signed["webhook_id"], said)
            )
        except Rejected as refusal:
            log.warning("desk_report_refused", signal="warning", desk=desk, reason=refusal.code, **signed)
            refused[desk] = RefusedReport(kit.now(), refusal.code)
            raise
        now = learned.state
        disputed = any(step.rung is said.rung and step.event_no == said.event_no for step in now.disputes)
        return ReportReceipt(key=now.key, rung=now.rung, disputed=disputed)

    return router


def report_secrets(cities: Cities, environment: Mapping[str, str]) -> dict[str, str | None]:
    """By desk that reports, the secret it signs with; None where there is no usable one."""
    entries = {desk: entry for pack in cities.values() for desk, entry in pack.every_desk.items()}
    named = {desk: entry.wire.report_secret_env for desk, entry in entries.items()}
    return {desk: read_secret(environment, variable) for desk, variable in named.items() if variable is not None}


def check_signature(desk: str, secret: str | None, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook-id of a body that the desk has signed. 401 without a word of why, but to the desk itself."""
    try:
        if secret is not None:
            return verify(secret, headers, body, now)
    except ClockOff as off:
        log.warning("desk_clock_off", signal="warning", desk=desk, skew_seconds=round(off.skew))
        raise Unauthorised(
            "clock_off",
            f"签名时间与我方相差 {off.skew:+.0f} 秒，请校准时钟后重发。 webhook-timestamp is {off.skew:+.0f} s off: "
            "set your clock and sign the report again.",
        ) from None
    except Unsigned:
        pass
    raise Unauthorised("unauthorised", "Unauthorised.")


def parse_report(body: bytes) -> DeskReport:
    """The report in a verified body; 400 if it is no JSON, 422 if it cannot be made out."""
    try:
        return DeskReport.model_validate(read_json(body))
    except NotJson:
        raise BadRequest("malformed_json", "正文不是 JSON，请改正后重发。 The body is not JSON.") from None
    except ValidationError as invalid:
        wrong = sorted({str(error["loc"][0]) if error["loc"] else "body" for error in invalid.errors()})
        raise NotAReport(
            "not_a_report",
            f"看不懂 {', '.join(wrong)}，请改正后重发。 Correct {', '.join(wrong)} and send the report again: one JSON "
            "object, with `key` as in the order and one of the published rungs.",
        ) from None


def report_key(fingerprints: Fingerprints, desk: str, webhook_id: str, said: DeskReport) -> IdempotencyKey:
    """The desk's own id makes a report one; how it was spelled, or sent again when, does not make it another."""
    act = uuid5(NAMES, f"report|{desk}|{webhook_id}")
    return IdempotencyKey(act, fingerprints.fingerprint(act, said.model_dump_json().encode()), actor=desk)


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
