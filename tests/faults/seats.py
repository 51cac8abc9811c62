"""The people who are rung: what stands on the alarm list and what the outside channel was given, written down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

from deploy.cli.client import INTAKE, Whereabouts
from tests.faults.logs import Folder, Log
from tests.faults.programs import CITY

LOOK_EVERY = 0.5
"""Seconds."""


OFFICER = "041207"


class Seats:
    """Looks at intake's list of alarms for ever; a list that cannot be had is looked for again.

    `phones`: of so many alarms that ring from now on a person takes the call, reaches the desk, and writes it down.
    """

    def __init__(self, where: Whereabouts, log: Log, folder: Folder) -> None:
        headers = {"authorization": f"Bearer {where.token}", "x-actor": "supervisor-1"}
        self._http = httpx.AsyncClient(base_url=where.urls[INTAKE], headers=headers, timeout=5, trust_env=False)
        self._log = log
        self._folder = folder
        self._ringing: set[tuple[str, str]] = set()
        self._phoning: set[asyncio.Task[None]] = set()
        self.phones = 0

    async def watch(self) -> None:
        while True:
            try:
                listed = await self._http.get(f"/cities/{CITY}/alarms")
                if listed.is_success:
                    self._note(listed.json())
            except httpx.TransportError:
                pass
            await asyncio.sleep(LOOK_EVERY)

    def _note(self, alarms: list[dict[str, Any]]) -> None:
        now = {(alarm["case"], alarm["desk"]): alarm for alarm in alarms}
        for pair, alarm in now.items():
            if pair not in self._ringing:
                told = {"because": alarm["because"], "since": alarm["ringing_since"], "by": "list"}
                self._log.write("rings", case=pair[0], desk=pair[1], **told)
                self._take(*pair)
        for case, desk in self._ringing - now.keys():
            self._log.write("ends", case=case, desk=desk, by="list")
        self._ringing = set(now)

    def _take(self, case: str, desk: str) -> None:
        if self.phones > 0:
            self.phones -= 1
            phoning = asyncio.create_task(self._phone(case, desk))
            self._phoning.add(phoning)
            phoning.add_done_callback(self._phoning.discard)

    async def _phone(self, case: str, desk: str) -> None:
        """Claim it, phone, settle it. The desk opens an incident for who phones unless it has one."""
        if not await self._act(case, "claims", {"desk": desk}):
            return
        event_no = next((car.key for car in self._folder.read().cars if (car.case, car.desk) == (case, desk)), None)
        if event_no is None:
            self._log.write("phoned", case=case, desk=desk)
        told = {"desk": desk, "officer": OFFICER, "event_no": (event_no or f"by phone {case}")[-40:]}
        await self._act(case, "settlements", told)

    async def _act(self, case: str, act: str, told: dict[str, Any]) -> bool:
        """Whether it was taken; asked for as long as nobody answers."""
        key = {"idempotency-key": str(uuid4())}
        for _ in range(40):
            try:
                answer = await self._http.post(f"/cities/{CITY}/alarms/{case}/{act}", json=told, headers=key)
                if answer.status_code < 500:
                    return answer.is_success
            except httpx.TransportError:
                pass
            await asyncio.sleep(LOOK_EVERY)
        return False

    async def close(self) -> None:
        for phoning in self._phoning:
            phoning.cancel()
        await asyncio.gather(*self._phoning, return_exceptions=True)
        await self._http.aclose()


@asynccontextmanager
async def watching(where: Whereabouts, log: Log, folder: Folder) -> AsyncIterator[Seats]:
    """Somebody looks, in here."""
    seats = Seats(where, log, folder)
    looking = asyncio.create_task(seats.watch())
    try:
        yield seats
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await seats.close()
