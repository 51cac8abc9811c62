"""What tests of a simulated desk are written in: the desk as a real process, and the hotline that it reports to."""

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import UUID

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.desk_door import Door
from deploy.local.desk_signature import sign, verify
from deploy.local.ports import HOST, answers, free
from deploy.local.process import Process
from tests.support.eventually import eventually

SECRET = "whsec_" + "c2ltdWxhdGVkLWRlc2stc2VjcmV0LTEyMzU2"
TRACE = "00-0197a000000070008000000000000001-8000000000000001-01"
PROMPT = {"answer": "deliver_then_accept", "accept_after": 1, "scale": 0.02, "slow": 0, "down": False, "delays": None}


@dataclass
class Hotline:
    """The other end of the wire: hears reports, and can be told not to."""

    heard: list[dict[str, Any]] = field(default_factory=list)
    deaf: int = 0
    url: str = ""

    async def report(self, request: Request) -> Response:
        body = await request.body()
        told = json.loads(body)
        told["id"] = verify(SECRET, request.headers, body, datetime.now(UTC))
        told["traceparent"] = request.headers.get("traceparent")
        self.heard.append(told)
        if self.deaf:
            self.deaf -= 1
            return Response(status_code=503)
        return Response(status_code=204)

    def of(self, key: str) -> list[dict[str, Any]]:
        return [told for told in self.heard if told["key"] == key]

    def rungs(self, key: str) -> list[str]:
        return [told["rung"] for told in self.of(key)]

    async def hears(self, key: str, rung: str, within: float = 10) -> None:
        await eventually(lambda: rung in self.rungs(key), within)


@dataclass
class Desk:
    """A desk in its own process."""

    id: str
    state: Path
    port: int
    reports_to: str
    process: Process | None = None
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=5, trust_env=False))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def control(self) -> str:
        return (self.state / "control.url").read_text().strip()

    async def start(self) -> None:
        told = {
            "JINGYI_DESK": self.id,
            "JINGYI_PORT": str(self.port),
            "JINGYI_SECRET": SECRET,
            "JINGYI_DESK_STATE": str(self.state),
            "JINGYI_DESK_BEHAVIOUR": json.dumps(PROMPT),
        }
        argv = (sys.executable, "-m", "deploy.local.desk")
        self.process = await Process.start("desk", argv, log=self.state / "desk.log", env=told)
        await self.process.until_ready(lambda: answers(self.port), 20)

    async def die(self) -> None:
        assert self.process is not None
        self.process.signal(SIGKILL)
        await self.process.wait()

    async def behaves(self, **told: object) -> None:
        answered = await self.client.post(f"{self.control}/behaviour", json={"code": None, **PROMPT, **told})
        answered.raise_for_status()

    def order(self, case: UUID, **changed: Any) -> dict[str, Any]:
        key = f"{case}/{self.id}/1"
        order = {"type": "call_out.order", "key": key, "case": str(case), "desk": self.id, "n": 1, "attempt": 1}
        brief = {"means": "药", "name": None}
        return {**order, "tier": "imminent", "reports_to": self.reports_to, "brief": brief, **changed}

    async def gets(self, order: dict[str, Any], patience: float = 5) -> httpx.Response:
        body = json.dumps(order).encode()
        timestamp = int(time.time())
        headers = {
            "webhook-id": order["key"],
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(SECRET, order["key"], timestamp, body),
            "traceparent": TRACE,
        }
        return await self.client.post(f"{self.url}/callouts", content=body, headers=headers, timeout=patience)

    async def log(self, key: str) -> dict[str, Any]:
        answered = await self.client.get(f"{self.control}/log", params={"key": key})
        log: dict[str, Any] = answered.raise_for_status().json()
        return {**log["callouts"].get(key, {}), "lines": log["lines"]}


@asynccontextmanager
async def hotline() -> AsyncIterator[Hotline]:
    hotline = Hotline()
    door = Door(Starlette(routes=[Route("/reports", hotline.report, methods=["POST"])]), 0)
    await door.stand(open=True)
    hotline.url = f"http://{HOST}:{door.port}/reports"
    yield hotline
    await door.stand(open=False)


@asynccontextmanager
async def desk(desk_id: str, state: Path, reports_to: str) -> AsyncIterator[Desk]:
    desk = Desk(desk_id, state, free(1)[0], reports_to)
    try:
        await desk.start()
        yield desk
    finally:
        if desk.process is not None:
            await desk.process.stop()
        await desk.client.aclose()
