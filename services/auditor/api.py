"""What the auditor shows: its heartbeat to whoever watches it, and its accounts to staff."""

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from services.auditor.auditor import Auditor
from services.auditor.view import escalation_line
from shared.contract.audit import AccountsView, EscalationLine, FindingView
from shared.kernel.process.web import Actor

DRILL_FAILED = "drill_failed"


def routes(auditor: Auditor) -> APIRouter:
    router = APIRouter(tags=["auditor 核对"])

    @router.get("/heartbeat", summary="核对心跳 · 200 while everything agrees")
    async def heartbeat() -> JSONResponse:
        """503 with what differs, counted by kind and without a case. Warnings do not stop it."""
        return JSONResponse(heartbeat_body(auditor), 200 if auditor.agrees else 503)

    @router.get("/accounts", summary="核对账 · What became of every escalation of the last day")
    async def accounts(_: Actor) -> AccountsView:
        """From memory: also while Kafka is away. An account that waits for nobody is kept for an hour."""
        now = auditor.now()
        every = auditor.reader.accounts.values()
        lines = (escalation_line(account, auditor.cities, now) for account in every if not account.drill)
        return AccountsView(
            lines=tuple(sorted(filter(None, lines), key=_raised)),
            ledger=auditor.ledger,
            findings=tuple(FindingView(what=f.what, case=f.case, desk=f.desk, alarm=f.alarm) for f in auditor.findings),
            silent=tuple(auditor.silent),
            drills=sum(account.drill for account in every),
        )

    return router


def heartbeat_body(auditor: Auditor) -> dict[str, Any]:
    """The heartbeat: how many of each kind of finding, how long ago each city's drill came back, in seconds."""
    at = asyncio.get_running_loop().time()
    kinds = [finding.what if finding.case else f"{finding.what}:{finding.desk}" for finding in auditor.findings]
    kinds += [DRILL_FAILED for drill in auditor.drills.values() if drill.failed]
    return {
        "at": auditor.now().isoformat(),
        "agrees": auditor.agrees,
        "findings": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "warnings": {"dead_letters": len(auditor.dead_letters)} if auditor.dead_letters else {},
        "drills": {
            drill.city: None if drill.came is None else round(at - drill.came, 1) for drill in auditor.drills.values()
        },
    }


def _raised(one: EscalationLine) -> datetime:
    return one.raised_at
