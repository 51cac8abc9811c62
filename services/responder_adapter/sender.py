"""Sends each desk what was committed to go out to it, and learns what it said. A dead 110 never delays 120."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid5

import httpx
import structlog
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext

from services.responder_adapter import payload
from services.responder_adapter.callout import AttemptAnswered, AttemptFailed, CancelAnswered, desk_entry
from services.responder_adapter.disclosure import open_disclosure
from services.responder_adapter.keeping import address_of
from services.responder_adapter.retry_schedule import LATE, LEAVES_WITHIN
from services.responder_adapter.standstill import Standstill
from services.responder_adapter.state import PHONE, CallOut
from services.responder_adapter.status import CallOutStatus
from services.responder_adapter.wires import Answer, Silence
from services.responder_adapter.wires.signature import BadSecret, sign
from services.responder_adapter.wires.webhook import MOST_AT_ONCE, Webhook, connect_webhook
from shared.contract.city import Cities, DeskEntry, WebhookWire
from shared.contract.event import Command, Event
from shared.contract.terms import ECHO, Rung, desk_city, desk_kind, spoken_number
from shared.kernel.errors import Unavailable
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.machine.vault import Vault
from shared.kernel.process.platform import Transport

LEARN_AGAIN, LEARN_AGAIN_AT_MOST = 0.1, 2.0

DRILL_REFUSED = Answer(Rung.REJECTED, code="drill_not_allowed")

log = structlog.get_logger()


@dataclass(frozen=True)
class Attempt:
    """One attempt as it was committed, at which moment of the monotonic clock, and in which span."""

    callout: CallOut
    drill: bool
    committed: float
    within: SpanContext


@dataclass(eq=False)
class DueAttempts:
    """What was just committed to go out, desk by desk, newest first. Fed by the kernel after the commit.

    Of a burst that cannot leave at once the oldest are too late when their turn comes; each is made anew and is then
    the newest, so that it leaves with one more commit. In their own order all would be late again and again.
    """

    queues: dict[str, asyncio.Queue[Attempt]] = field(default_factory=lambda: defaultdict(asyncio.LifoQueue))

    def note(self, callout: CallOut, event: Event, drill: bool) -> None:
        """Hand over what starts now. A call task has nothing to send, but a drill may have to be taken back."""
        within = otel.get_current_span().get_span_context()
        attempt = Attempt(callout, drill, asyncio.get_running_loop().time(), within)
        lane = ECHO if desk_kind(callout.desk) == ECHO else callout.desk
        if callout.sends(callout.token) and lane in self.queues:
            self.queues[lane].put_nowait(attempt)
        elif drill and callout.wire == PHONE and callout.status is not CallOutStatus.ENDED:
            self.queues[PHONE].put_nowait(attempt)


@dataclass(frozen=True, eq=False)
class Sender:
    """What all desks' senders share."""

    callouts: Keeper[CallOut]
    vault: Vault
    cities: Cities
    now: Callable[[], datetime]
    base_url: str
    standstill: Standstill
    transport: Transport = httpx.AsyncHTTPTransport

    async def message(self, attempt: Attempt, desk: DeskEntry) -> dict[str, Any]:
        """What goes out now. Raises Unavailable."""
        callout = attempt.callout
        reports_to = f"{self.base_url}/desks/{callout.desk}/reports"
        heading = payload.heading(callout, spoken_number_of(self.cities, callout), reports_to)
        if payload.kind(callout) == payload.CANCEL:
            return heading | payload.cancellation(callout, drill=attempt.drill)
        if payload.kind(callout) == payload.STATUS:
            return heading | payload.question(callout, drill=attempt.drill)
        told = await open_disclosure(self.vault, callout, medical=desk.medical)
        return heading | payload.order(callout, brief=told.brief, place=told.place, drill=attempt.drill)

    async def learn(self, attempt: Attempt, said: Answer | Silence) -> None:
        """Have the call-out learn what came of an attempt, however long its store stays away."""
        command, cause, wait = _outcome(attempt.callout, said), _cause(attempt, said), LEARN_AGAIN
        while True:
            try:
                await self.callouts.learn(command, cause)
                return
            except Unavailable:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LEARN_AGAIN_AT_MOST)


@dataclass(eq=False)
class DeskLane:
    """The one sender of one desk with a webhook."""

    desk: str
    entry: DeskEntry
    wire: WebhookWire
    secret: str | None
    context: ssl.SSLContext
    queue: asyncio.Queue[Attempt]
    sender: Sender

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with (
            connect_webhook(self.desk, self.wire, self.secret or "", self.context, self.sender.transport) as wire,
            asyncio.TaskGroup() as posts,
        ):
            while True:
                await self._free.acquire()
                attempt = await self.queue.get()
                posts.create_task(self._attempt(attempt, wire))

    async def _attempt(self, attempt: Attempt, wire: Webhook) -> None:
        with otel.use_span(NonRecordingSpan(attempt.within)):
            try:
                said = await self._said(attempt, wire)
            finally:
                self._free.release()
            if said is not None:
                await self.sender.learn(attempt, said)

    async def _said(self, attempt: Attempt, wire: Webhook) -> Answer | Silence | None:
        if attempt.drill and not self.entry.marked_exercise:
            return DRILL_REFUSED
        if self.secret is None:
            return Silence("no_secret")
        try:
            message = await self.sender.message(attempt, self.entry)
        except Unavailable:
            return Silence("no_key")
        await self.sender.standstill.over()
        if self._fenced_off(attempt):
            return None
        if attempt.callout.key in self._busy:  # a wish to cancel never overtakes the order it speaks of
            return Silence("busy")
        if asyncio.get_running_loop().time() - attempt.committed > LEAVES_WITHIN:
            return Silence(LATE)
        return await self._post(attempt, message, wire)

    async def _post(self, attempt: Attempt, message: dict[str, Any], wire: Webhook) -> Answer | Silence:
        self._busy.add(attempt.callout.key)
        try:
            return await wire.send(message, self.sender.now())
        finally:
            self._busy.discard(attempt.callout.key)

    def _fenced_off(self, attempt: Attempt) -> bool:
        """The last look before the POST, at what this process knows; the desk's key guards the rest."""
        callout = attempt.callout
        newest = self.sender.callouts.latest_state(address_of(self.sender.cities, callout))
        if newest is None or not newest.forbids(callout.token):
            return False
        log.info("attempt_fenced_off", key=callout.key, token=callout.token, newest=newest.token, status=newest.status)
        return True


def desk_lanes(sender: Sender, due: DueAttempts, environment: dict[str, str]) -> tuple[DeskLane, ...]:
    """A sender for each desk with a webhook."""
    context = ssl.create_default_context()
    return tuple(
        DeskLane(desk, known, known.wire, signing_secret(known.wire, environment), context, due.queues[desk], sender)
        for pack in sender.cities.values()
        for desk, known in pack.desks.items()
        if isinstance(known.wire, WebhookWire)
    )


async def refuse_drills(sender: Sender, due: DueAttempts) -> None:
    """Take back, for ever, the call tasks of drills for desks that have not agreed to a marked exercise."""
    while True:
        attempt = await due.queues[PHONE].get()
        known = desk_entry(sender.cities, attempt.callout.desk)
        if known is None or not known.marked_exercise:
            await sender.learn(attempt, DRILL_REFUSED)


def signing_secret(wire: WebhookWire, environment: dict[str, str]) -> str | None:
    """The desk's signing secret. Without a usable one its call-outs fail visibly, and people phone."""
    secret = environment.get(wire.secret_env, "")
    try:
        sign(secret, "probe", 0, b"")
    except BadSecret:
        log.warning("no_desk_secret", variable=wire.secret_env)
        return None
    return secret


def spoken_number_of(cities: Cities, callout: CallOut) -> str:
    """The number people say to each other: that of the line which took the call."""
    assert callout.case is not None
    pack = cities.get(callout.city) or cities[desk_city(callout.desk)]
    return spoken_number(pack.area_code, callout.case)


def _outcome(callout: CallOut, said: Answer | Silence) -> Command:
    assert callout.case is not None
    which = {"case": callout.case, "city": callout.city, "desk": callout.desk, "n": callout.n, "token": callout.token}
    match said:
        case Silence():
            return AttemptFailed(**which, reason=said.reason)
        case Answer() if payload.kind(callout) == payload.CANCEL:
            return CancelAnswered(**which, rung=said.rung, code=said.code)
    return AttemptAnswered(**which, rung=said.rung, officer=said.officer, event_no=said.event_no, code=said.code)


def _cause(attempt: Attempt, said: Answer | Silence) -> IdempotencyKey:
    named = f"{attempt.callout.key}|{attempt.callout.token}|{said}"
    return IdempotencyKey(uuid5(NAMES, named), drill=attempt.drill)
