"""Simulated 110 and 120: they take signed orders by their key, make incidents, report back, and can fail in each way.

A desk's book is what the checker reads: every order that it understood, every incident that it made, and how.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

import httpx

from deploy.local.desk_signature import Unsigned, sign, verify

ANSWERS = ("accept", "deliver", "reject")
"""What a desk in order does: accept in its answer, accept by a report a little later, or say no."""

FAILURES = ("refused", "blackhole", "error", "garbage", "cut", "late", "unread")
"""`cut` and `late`: it has taken the order, and its answer gets lost or comes after our patience. `unread`: a machine
took it and nobody looks, until the phone rings or the trouble is over."""

PATIENCE = 4.0
"""Seconds after which the adapter listens no more."""

Ask = Callable[[str, str, dict[str, str], bytes], Awaitable[tuple[int, bytes]]]


@dataclass
class Case:
    """What a desk knows of one key; `ours` is the hotline's own word for the order, by which reports name it."""

    key: str
    case: str
    answer: dict[str, Any]
    ours: str = ""
    reports_to: str = ""
    event_no: str = ""
    place: str | None = None
    made_at: float | None = None
    accepted_at: float | None = None
    stood_down: bool = False
    by_phone: bool = False


@dataclass(frozen=True)
class Posted:
    """One POST that the desk understood."""

    case: str
    key: str
    at: float
    cancels: bool
    stood_down: bool


@dataclass(eq=False)
class Desk:
    """One desk. `trouble` is what ails it now; `habit` how it answers in order; `clears_after` seconds, if it does."""

    name: str
    secret: str
    random: Random
    loop: asyncio.AbstractEventLoop
    now: Callable[[], datetime]
    ask: Ask
    told: Callable[[str, str], None]
    habit: str = "accept"
    reads_after: float = 2.0
    clears_after: float | None = None
    trouble: str | None = None
    book: dict[str, Case] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)
    voices: set[asyncio.Task[None]] = field(default_factory=set)

    async def receive(self, request: httpx.Request, body: bytes) -> httpx.Response:
        """Answer one POST, as far as the trouble lets it."""
        trouble = self.trouble
        await asyncio.sleep(0.001 + self.random.random() * 0.01)
        if trouble == "refused":
            raise httpx.ConnectError("refused", request=request)
        if trouble == "blackhole":
            await asyncio.sleep(PATIENCE * 2)
            raise httpx.ReadTimeout("silence", request=request)
        if trouble == "error":
            return httpx.Response(500, content=b"{}")
        if trouble == "garbage":
            return httpx.Response(200, content=b"<html>")
        answer = self._understood(request, body)
        if trouble == "cut":
            raise httpx.RemoteProtocolError("cut", request=request)
        if trouble == "late":
            await asyncio.sleep(self.random.choice((2.9, 3.5, 6.0)))
        await asyncio.sleep(self.random.random() * 0.02)
        return httpx.Response(200 if answer else 401, content=json.dumps(answer).encode())

    def mend(self) -> None:
        """The trouble is over; people look at what lies there."""
        self.trouble = None
        for case in list(self.book.values()):
            if case.made_at is not None and case.accepted_at is None:
                self._speak(self._accepts(case, self.reads_after))

    def phoned(self, case: str) -> str:
        """A person of the hotline tells it by phone: the event number under which the desk has it now."""
        for known in self.book.values():
            if known.case == case and known.made_at is not None and not known.stood_down:
                if known.accepted_at is None:
                    known.accepted_at = self.loop.time()
                return known.event_no
        made = self._make(f"{case}/{self.name}/phone", case, {})
        made.by_phone, made.accepted_at = True, self.loop.time()
        return made.event_no

    def _understood(self, request: httpx.Request, body: bytes) -> dict[str, Any]:
        try:
            verify(self.secret, request.headers, body, self.now())
        except Unsigned:
            self.told(self.name, "does not believe a signature")
            return {}
        order = json.loads(body)
        # What makes two messages one is the id on the envelope, as in Standard Webhooks.
        key = str(request.headers["webhook-id"])
        if order["type"] == "call_out.cancel":
            return self._cancel(order, key.removesuffix("/cancel"))
        self.posted.append(Posted(order["case"], key, self.loop.time(), cancels=False, stood_down=False))
        return self._order(order, key)

    def _order(self, order: dict[str, Any], key: str) -> dict[str, Any]:
        known = self.book.get(key)
        if known is not None:
            self.told(self.name, f"is asked again under {_short(key)}")
            return known.answer
        if self.habit == "reject":
            self.told(self.name, f"rejects {_short(key)}")
            self.book[key] = Case(key, order["case"], {"status": "rejected", "code": "no_unit"})
            return self.book[key].answer
        made = self._make(key, order["case"], {"status": "delivered"})
        made.ours, made.reports_to, made.place = order["key"], order["reports_to"], order["place"]["text"]
        if self.trouble != "unread":
            if self.habit == "accept":
                made.answer = {"status": "accepted", "event_no": made.event_no, "officer": "041207"}
                made.accepted_at = self.loop.time()
                self._speak(self._clears(made))
            else:
                self._speak(self._accepts(made, self.reads_after))
        return made.answer

    def _make(self, key: str, case: str, answer: dict[str, Any]) -> Case:
        number = f"{self.name[-3:]}-{len(self.book) + 1}"
        self.book[key] = made = Case(key, case, answer, event_no=number, made_at=self.loop.time())
        self.told(self.name, f"MAKES AN INCIDENT of {_short(key)}: no. {number}")
        return made

    def _cancel(self, order: dict[str, Any], key: str) -> dict[str, Any]:
        known = self.book.setdefault(key, Case(key, order["case"], {"status": "rejected", "code": "cancelled"}))
        known.stood_down = True
        self.posted.append(Posted(order["case"], key, self.loop.time(), cancels=True, stood_down=True))
        self.told(self.name, f"stands down on {_short(key)}")
        return {"status": "cancelled"}

    def _speak(self, telling: Any) -> None:
        voice = self.loop.create_task(telling)
        self.voices.add(voice)
        voice.add_done_callback(self.voices.discard)

    async def _accepts(self, case: Case, after: float) -> None:
        await asyncio.sleep(after)
        if not case.stood_down and case.accepted_at is None:
            case.accepted_at = self.loop.time()
            self.told(self.name, f"accepts {_short(case.key)}")
            await self._report(case, {"rung": "accepted", "officer": "041207", "event_no": case.event_no})
            await self._clears(case)

    async def _clears(self, case: Case) -> None:
        if self.clears_after is not None:
            await asyncio.sleep(self.clears_after)
            if not case.stood_down:
                self.told(self.name, f"clears {_short(case.key)}")
                await self._report(case, {"rung": "cleared", "code": "assisted", "officer": "041207"})

    async def _report(self, case: Case, said: dict[str, Any]) -> None:
        """Say it until somebody takes it down; now and then once more."""
        body = json.dumps({"key": case.ours, **said}).encode()
        pause, again = 0.5, self.random.random() < 0.2
        while case.reports_to:
            status = await self._say(case, f"{case.key}/{said['rung']}", body)
            if 200 <= status < 500 and status != 404 and not again:
                return
            again = again and not 200 <= status < 300
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    async def _say(self, case: Case, webhook_id: str, body: bytes) -> int:
        timestamp = int(self.now().timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self.secret, webhook_id, timestamp, body),
        }
        status, _ = await self.ask("POST", case.reports_to, headers, body)
        return status


def _short(key: str) -> str:
    case, _, rest = key.partition("/")
    return f"…{case[-4:]}/{rest}"
