"""The people: counsellors who save danger and press F9, and a supervisor who reads the alarms and phones.

What they sent and what they were answered is the client's log; what rang is the alarm log.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.logs import UNHEARD
from tests.simulation.desks import Desk

CITY = "140700"
ADDRESS = "演示路1号"
GIVES_UP = 20.0
"""Seconds after which a counsellor whose saves get no answer takes the phone."""

Ask = Callable[[str, str, dict[str, str], bytes], Awaitable[tuple[int, bytes]]]
"""Method, URL, headers and body to status (0: none came) and body."""


@dataclass(frozen=True)
class Wish:
    """What an act is about; a decisive one calls for help, from `desks`, and tells them the address if `placed`."""

    case: str = ""
    decisive: bool = False
    desks: frozenset[str] = frozenset()
    placed: bool = False


@dataclass(frozen=True)
class Sent:
    """One attempt of an act and its answer; status 0: none came."""

    actor: str
    act: str
    wish: Wish
    key: str
    at: float
    took: float
    status: int
    said: str

    @property
    def accepted(self) -> bool:
        """Whether the hotline has promised it."""
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Rung:
    """An alarm that a human came to know of; `desk` None: about the case as a whole."""

    case: str
    desk: str | None
    at: float
    through: str


@dataclass(eq=False)
class Crowd:
    """Everybody with a seat or a phone, and what they wrote down."""

    random: Random
    loop: asyncio.AbstractEventLoop
    ask: Ask
    desks: dict[str, Desk]
    told: Callable[[str, str], None]
    reacts_after: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    rung: list[Rung] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    busy: set[asyncio.Task[None]] = field(default_factory=set)
    _keys: int = 0

    def begin(self, doing: Coroutine[Any, Any, None]) -> None:
        """Have somebody do it."""
        task = self.loop.create_task(doing)
        self.busy.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.busy.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            self.wrong.append(f"{type(failure).__name__}: {failure}")

    async def act(self, actor: str, method: str, path: str, body: dict[str, Any], wish: Wish) -> int:
        """Do it until it is answered, under one key; the status, 0 if it was given up."""
        self._keys += 1
        key, act = f"k{self._keys}", path.rpartition("/")[2]
        began, pause = self.loop.time(), 0.3
        while True:
            at = self.loop.time()
            status, said = await self._try(actor, method, path, body, key)
            self._note(Sent(actor, act, wish, key, at, self.loop.time() - at, status, said))
            if 200 <= status < 300 and self.random.random() < 0.1:
                continue  # a finger that presses twice, a proxy that sends twice
            if 200 <= status < 500 or self.loop.time() - began > GIVES_UP:
                return status
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _try(self, actor: str, method: str, path: str, body: dict[str, Any], key: str) -> tuple[int, str]:
        headers = {
            "authorization": "Bearer development",
            "x-actor": actor,
            "idempotency-key": key,
            "content-type": "application/json",
        }
        status, answer = await self.ask(method, f"http://hotline_intake{path}", headers, json.dumps(body).encode())
        return status, answer.decode()

    def _note(self, sent: Sent) -> None:
        self.sent.append(sent)
        self.told(sent.actor, f"{sent.act} for …{sent.wish.case[-4:]} → {sent.status or 'no answer'}")
        if 400 <= sent.status < 500 and sent.actor != "supervisor-1":
            self.wrong.append(f"{sent.actor} was refused {sent.act}: {sent.status} {sent.said[:200]}")

    async def call(self, case: str, seat: str, steps: tuple[str, ...]) -> None:
        """One conversation, step by step: open, place, danger, place and danger together, harmless, f9, f9_110."""
        path, plain = f"/cities/{CITY}/calls/{case}", Wish(case)
        placed = opened = False
        for step in steps:
            await asyncio.sleep(self.random.random() * 0.6)
            desks = frozenset(self.desks) if placed and step != "f9_110" else frozenset({f"{CITY}-110"})
            cry = Wish(case, decisive=True, desks=desks, placed=placed)
            match step:
                case "open":
                    opened = await self.act(seat, "PUT", path, {}, plain) in {200, 201}
                case "place" if opened:
                    told = {"confidence": "read_back", "city": CITY, "text": ADDRESS}
                    placed = await self.act(seat, "POST", f"{path}/places", told, plain) == 201
                case "danger" | "harmless" if opened:
                    answers = {"acute-criteria/1": {"in_progress": step == "danger"}}
                    wish = cry if step == "danger" else plain
                    await self.act(seat, "POST", f"{path}/screenings", {"answers": answers}, wish)
                case "together" if opened:
                    told = {"confidence": "read_back", "city": CITY, "text": ADDRESS}
                    place = self.act(seat, "POST", f"{path}/places", told, plain)
                    answers = {"acute-criteria/1": {"in_progress": True}}
                    await asyncio.gather(place, self.act(seat, "POST", f"{path}/screenings", {"answers": answers}, cry))
                case "f9":
                    await self.act(seat, "POST", f"{path}/escalations", {}, cry)
                case "f9_110":
                    await self.act(seat, "POST", f"{path}/escalations", {"desks": ["110"]}, cry)

    async def watch(self, manner: str) -> None:
        """The supervisor looks at the alarms every two seconds; `manner` is what they do about one."""
        taken: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(2)
            status, said = await self._try("supervisor-1", "GET", f"/cities/{CITY}/alarms", {}, "look")
            for alarm in json.loads(said) if status == 200 else ():
                self.hear(alarm["case"], alarm["desk"], alarm["because"], "screen")
                pair = alarm["case"], alarm["desk"]
                if alarm["phase"] == "ringing" and pair not in taken and manner != "deaf":
                    taken.add(pair)
                    self.begin(self.answer(*pair, manner))

    def hear(self, case: str, desk: str, because: str | None, through: str) -> None:
        """A human comes to know of an alarm."""
        about = None if because in UNHEARD else desk
        if not any((known.case, known.desk, known.through) == (case, about, through) for known in self.rung):
            self.told("ALARM", f"{desk} for …{case[-4:]}, {because}, on the {through}")
            self.rung.append(Rung(case, about, self.loop.time(), through))

    async def answer(self, case: str, desk: str, manner: str) -> None:
        """Claim, phone, settle; or claim and give back; or claim and be called away."""
        path = f"/cities/{CITY}/alarms/{case}"
        await asyncio.sleep(self.reacts_after + self.random.random() * 4)
        if await self.act("supervisor-1", "POST", f"{path}/claims", {"desk": desk}, Wish(case)) not in {200, 201, 202}:
            return
        await asyncio.sleep(2 + self.random.random() * 6)
        if manner == "vanishes":
            return
        if manner == "gives_back":
            await self.act("supervisor-1", "POST", f"{path}/releases", {"desk": desk}, Wish(case))
            return
        event_no = self.desks[desk].phoned(case)
        self.told("supervisor-1", f"phoned {desk} about …{case[-4:]}: they have it under {event_no}")
        await asyncio.sleep(1 + self.random.random() * 5)  # they are still talking
        told = {"desk": desk, "officer": "041207", "event_no": event_no}
        await self.act("supervisor-1", "POST", f"{path}/settlements", told, Wish(case))
