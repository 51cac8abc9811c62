"""Watches the watcher: people are told outside when the auditor's heartbeat has been missing for half a minute."""

import asyncio
from dataclasses import dataclass, field

import httpx
import structlog
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from shared.kernel.process.service import Kit
from shared.kernel.process.web import Actor
from shared.notify.bell import Bell
from shared.notify.heartbeat import HeartbeatMonitor

AUDITOR = "auditor"
LOOK_EVERY, WITHIN = 5.0, 2.0
"""Seconds."""

SILENT = "【警医】系统告警：核对程序无有效心跳，请立即检查 system alarm: no good heartbeat of the auditor"

log = structlog.get_logger()


class AuditorHeartbeat(BaseModel):
    """What the auditor's heartbeat says that people want to know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    findings: dict[str, int]


class AuditorStanding(BaseModel):
    """How the auditor stands, as intake sees it. `silent_s`: since its last good beat; `findings` are its own words."""

    model_config = ConfigDict(frozen=True)

    agrees: bool
    lost: bool
    silent_s: float
    findings: dict[str, int]


@dataclass(eq=False)
class AuditorWatch:
    """Asks the auditor every 5 s. Without a door of that name nobody is watched."""

    kit: Kit
    bell: Bell
    findings: dict[str, int] = field(default_factory=dict)
    pulse: HeartbeatMonitor | None = None

    async def run(self) -> None:
        url = self.kit.settings.doors.get(AUDITOR)
        if url is None:
            return
        self.pulse = HeartbeatMonitor(_clock())
        async with httpx.AsyncClient(
            transport=self.kit.platform.transport(trust_env=False), timeout=WITHIN, trust_env=False
        ) as http:
            while True:
                await self._look(http, f"{url}/heartbeat", self.pulse)
                await asyncio.sleep(LOOK_EVERY)

    def view(self) -> AuditorStanding:
        if self.pulse is None:
            return AuditorStanding(agrees=False, lost=False, silent_s=0, findings={})
        silent = self.pulse.silent(_clock())
        fresh = self.pulse.good is not None and silent < 2 * LOOK_EVERY
        return AuditorStanding(
            agrees=fresh, lost=self.pulse.lost(_clock()), silent_s=round(silent, 1), findings=self.findings
        )

    async def _look(self, http: httpx.AsyncClient, url: str, pulse: HeartbeatMonitor) -> None:
        try:
            answer = await http.get(url)
            self.findings = AuditorHeartbeat.model_validate_json(answer.content).findings
            if answer.status_code == httpx.codes.OK and pulse.beat(_clock()):
                log.info("auditor_beats_again")
        except (httpx.HTTPError, ValueError):
            self.findings = {}
        if pulse.tells(_clock()):
            taken = await self.bell.tell_everybody(SILENT)
            log.error("auditor_silent", seconds=round(pulse.silent(_clock())), taken=taken, signal="alarm")


def routes(watcher: AuditorWatch) -> APIRouter:
    router = APIRouter(tags=["alarms 人工告警"])

    @router.get("/watch", summary="Whether the auditor beats 核对程序是否在岗")
    async def watch(_: Actor) -> AuditorStanding:
        """How the auditor's heartbeat stands, as this intake sees it."""
        return watcher.view()

    return router


def _clock() -> float:
    return asyncio.get_running_loop().time()
