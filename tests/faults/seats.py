"""The people who are rung: what stands on the alarm list and what the outside channel was given, written down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from deploy.cli.client import INTAKE, Whereabouts
from tests.faults.logs import Log
from tests.faults.programs import CITY

LOOK_EVERY = 0.5
"""Seconds."""


class Seats:
    """Looks at intake's list of alarms for ever; a list that cannot be had is looked for again."""

    def __init__(self, where: Whereabouts, log: Log) -> None:
        headers = {"authorization": f"Bearer {where.token}", "x-actor": "supervisor-1"}
        self._http = httpx.AsyncClient(base_url=where.urls[INTAKE], headers=headers, timeout=5, trust_env=False)
        self._log = log
        self._ringing: set[tuple[str, str]] = set()

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
                self._log.write("rings", case=pair[0], desk=pair[1], because=alarm["because"], by="list")
        for case, desk in self._ringing - now.keys():
            self._log.write("ends", case=case, desk=desk, by="list")
        self._ringing = set(now)

    async def close(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def watching(where: Whereabouts, log: Log) -> AsyncIterator[Seats]:
    """Somebody looks, in here."""
    seats = Seats(where, log)
    looking = asyncio.create_task(seats.watch())
    try:
        yield seats
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await seats.close()
