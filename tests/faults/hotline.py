"""The seats under load: danger saved and F9 pressed at a steady rate, each act sent until it is answered."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
from uuid_utils import uuid7

from deploy.cli.client import INTAKE, Whereabouts, call_path
from tests.faults.logs import DECISIVE, Log
from tests.faults.programs import AMBULANCE, CITY, POLICE

ANSWERED_WITHIN = 5.0
GIVE_UP_AFTER = 45.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 1.0
"""Seconds; a seat sends again under the same key until somebody answers."""

ANSWERS = {"acute-criteria/1": {"in_progress": True}}
AT_ONCE = 64
"""Acts that are with the product at once; the others wait in here, and nobody counts that as its time."""

PRESSED_TWICE = 0.03
"""Share of acts that are sent once more after their answer, as by a finger that trembles."""


@dataclass(frozen=True)
class Act:
    """One act of a seat: which, with what, and the desks that it is to reach."""

    name: str
    case: UUID
    path: str
    body: Mapping[str, Any]
    desks: tuple[str, ...] = ()
    key: str = field(default_factory=lambda: str(uuid4()))


class Hotline:
    """Two seats' worth of people, and many more. `keeps`: connections that stay open between acts."""

    def __init__(self, where: Whereabouts, log: Log, seed: int, keeps: int = AT_ONCE) -> None:
        headers = {"authorization": f"Bearer {where.token}", "x-actor": "seat-1"}
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=keeps)
        self._http = httpx.AsyncClient(
            base_url=where.urls[INTAKE], headers=headers, limits=limits, timeout=ANSWERED_WITHIN, trust_env=False
        )
        self._log = log
        self._free = asyncio.Semaphore(AT_ONCE)
        self._chance = random.Random(seed)
        self._calls: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def calling(
        self, rate: float, also: tuple[str, ...] = (), *, only_by_hand: bool = False
    ) -> AsyncIterator[None]:
        """Calls come in at `rate` a second in here; `also` are kinds of desk that F9 asks for, one after the other."""
        coming = asyncio.create_task(self._come(rate, also, by_hand=1.0 if only_by_hand else 0.5))
        try:
            yield
        finally:
            coming.cancel()

    async def answered(self) -> None:
        """Every act has its answer, or was given up."""
        await asyncio.gather(*self._calls)

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._http.aclose()

    async def _come(self, rate: float, also: tuple[str, ...], by_hand: float) -> None:
        clock = asyncio.get_running_loop().time
        start, n = clock(), 0
        while True:
            await asyncio.sleep(max(0.0, start + n / rate - clock()))
            asked = (also[n % len(also)],) if also else ()
            call = asyncio.create_task(self._f9(asked) if self._chance.random() < by_hand else self._saved())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            n += 1

    async def _saved(self) -> None:
        """A call is taken, the place read back, danger saved: both desks."""
        case = UUID(bytes=uuid7().bytes)
        path = call_path(CITY, case)
        await self._do(Act("open", case, path, {"caller": "13800000000"}))
        place = {"confidence": "read_back", "city": CITY, "text": "演示路1号"}
        placed = await self._do(Act("place", case, f"{path}/places", place))
        desks = (POLICE, AMBULANCE) if placed else (POLICE,)  # without a place 120 is warned by voice
        await self._do(Act("save", case, f"{path}/screenings", {"answers": ANSWERS}, desks))

    async def _f9(self, asked: tuple[str, ...]) -> None:
        """F9 on a call that nobody opened yet: the police, and whom else it asks for."""
        case = UUID(bytes=uuid7().bytes)
        desks = (POLICE, *(f"{CITY}-{kind}" for kind in asked))
        await self._do(Act("escalate", case, f"{call_path(CITY, case)}/escalations", {"desks": list(asked)}, desks))

    async def _do(self, act: Act) -> bool:
        """Send it until it is answered, sometimes once more; whether it was taken."""
        taken = await self._until_answered(act)
        if taken and self._chance.random() < PRESSED_TWICE:
            await self._until_answered(act)
        return taken

    async def _until_answered(self, act: Act) -> bool:
        clock = asyncio.get_running_loop().time
        give_up, pause, attempt = clock() + GIVE_UP_AFTER, FIRST_PAUSE, 0
        while clock() < give_up:
            attempt += 1
            async with self._free:
                status = await self._send(act, attempt)
            if status and status < 500:
                return status < 300
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return False

    async def _send(self, act: Act, attempt: int) -> int:
        told: dict[str, Any] = {"act": act.name, "case": str(act.case), "key": act.key, "desks": act.desks}
        clock = asyncio.get_running_loop().time
        if act.name in DECISIVE:
            self._log.write("sent", attempt=attempt, **told)
        began, status, said = clock(), 0, ""
        try:
            method = "PUT" if act.name == "open" else "POST"
            async with asyncio.timeout(ANSWERED_WITHIN):
                answer = await self._http.request(method, act.path, json=act.body, headers={"idempotency-key": act.key})
            status, said = answer.status_code, said_in(answer)
        except (httpx.TransportError, TimeoutError):
            pass
        self._log.write("answered", attempt=attempt, status=status, took=clock() - began, said=said, **told)
        return status


def said_in(answer: httpx.Response) -> str:
    """What must be the same however often the act is sent."""
    if not answer.is_success:
        return ""
    told = answer.json()
    return str(told.get("screening") or told.get("spoken_number") or "")
