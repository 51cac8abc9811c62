"""A fault as data, the scene on which it plays, and what came of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from tests.faults.hotline import Hotline
from tests.faults.invariants import Bounds, p99
from tests.faults.logs import CLIENT, Log
from tests.faults.programs import Shape
from tests.faults.seats import Seats
from tests.faults.stage import Stage

ACCEPTED_WITHIN = 0.3
"""Seconds, for 99 of 100, with all of Kafka silent."""

Note = Callable[[str], None]


@dataclass
class Scene:
    """Where a fault plays: the stage under load, its own chance, and what the report is to say of it."""

    stage: Stage
    chance: Random
    tell: Note
    probes: Log
    seats: Seats
    began: float
    notes: list[str] = field(default_factory=list)

    def note(self, words: str) -> None:
        """Say it now and in the report."""
        self.notes.append(words)
        self.tell(words)

    def probe(self, what: str, took: float | None, asked: float) -> None:
        """Have the checker judge something that lasted, or came, so many seconds; None: it never came."""
        self.probes.write("probe", probe=what, took=took, asked=asked)

    def accepted(self, since: float, state: str) -> None:
        """Have the checker judge how long seats have waited for their 2xx since that Unix second, while it is so."""
        replies = self.stage.folder.of(self.stage.fault).replies
        taken = [one.took for one in replies if one.sent > since and 200 <= one.status < 300]
        self.probe(f"2xx p99 while {state}", p99(taken), ACCEPTED_WITHIN)

    @asynccontextmanager
    async def new_seats(self, rate: float) -> AsyncIterator[None]:
        """Beside the seats that are there, others press F9 in here, with a connection of its own for each act."""
        log = Log(self.stage.folder.seen / CLIENT, lambda: self.stage.fault)
        hotline = Hotline(self.stage.where, log, self.chance.randrange(2**32), keeps=0)
        try:
            async with hotline.calling(rate, only_by_hand=True):
                yield
            await hotline.answered()
        finally:
            await hotline.close()
            log.close()

    async def health(self, service: str) -> dict[str, Any]:
        """What it says of itself; nothing while it does not answer."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            with suppress(httpx.TransportError):
                told: dict[str, Any] = (await client.get(f"{self.stage.running.urls[service]}/health/ready")).json()
                return told
        return {}

    async def behave(self, desk: str, **told: object) -> None:
        """Tell a desk how to behave from now on."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.post(f"{self.stage.running.urls[desk]}/behaviour", json=told)
            answer.raise_for_status()

    async def ended(self, name: str, within: float = 20.0) -> bool:
        """Whether the program ends in time; it was told to die, and may never have come to where."""
        process = self.stage.running.supervisor.standings[name].process
        assert process is not None
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), within)
        except TimeoutError:
            return False
        return True

    async def up(self, *names: str) -> None:
        """Wait until these are ready again."""
        for name in names:
            await asyncio.wait_for(self.stage.running.until_ready(name), 60)


@dataclass(frozen=True)
class Fault:
    """What is done while calls come in at `rate` a second, and what must hold. `also`: desks that F9 asks for, too."""

    name: str
    words: str
    shape: Shape
    inflict: Callable[[Scene], Awaitable[None]]
    bounds: Bounds
    rate: float = 20.0
    also: tuple[str, ...] = ()
    only_by_hand: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: the checker's figures and findings, and what was noted on the way."""

    name: str
    words: str
    bounds: dict[str, Any]
    figures: dict[str, Any]
    broken: dict[str, int]
    findings: list[dict[str, str]]
    notes: list[str]
    seconds: float

    @property
    def held(self) -> bool:
        return not self.broken
