"""Sends each desk what was committed to go out to it, and learns what it said. A dead 110 never delays 120."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import uuid5

import structlog
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext

from services.responder_adapter.callout import AttemptFailed
from services.responder_adapter.disclosure import open_disclosure
from services.responder_adapter.outgoing import Outgoing, compose_outgoing, outgoing_type
from services.responder_adapter.retry_schedule import LATE, LEAVES_WITHIN, PRESUMED_DEAD
from services.responder_adapter.standstill import Standstill
from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from services.responder_adapter.wires import MOST_AT_ONCE, Answer, Silence, Wire, WireContext, connect_wire
from shared.contract.city import Cities, DeskEntry
from shared.contract.event import Command, Event, Message
from shared.contract.terms import Rung, callout_key, desk_city
from shared.kernel.clock import unix_milliseconds
from shared.kernel.errors import Unavailable
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.machine.vault import Vault

LEARN_AGAIN, LEARN_AGAIN_AT_MOST = 0.1, 2.0

LOOKS = 2
"""How often a late attempt asks the store whether it is the newest."""

DRILL_REFUSED = Answer(Rung.REJECTED, code="drill_not_allowed")

log = structlog.get_logger()


@dataclass(frozen=True)
class Attempt:
    """One attempt as it was committed, at which moment of the monotonic clock, and in which span."""

    callout: CallOut
    drill: bool
    committed: float
    within: SpanContext

    @property
    def dead_at(self) -> int:
        """When it would be presumed dead, had its process died with it; in Unix milliseconds."""
        assert self.callout.started_at is not None
        return unix_milliseconds(self.callout.started_at + PRESUMED_DEAD)


@dataclass(eq=False)
class DueAttempts:
    """What was just committed to go out, desk by desk, in its order. Fed by the kernel after the commit.

    `under_way` has the moment at which each call-out's attempt would be presumed dead, as long as it is in our hands.
    """

    queues: dict[str, asyncio.Queue[Attempt]] = field(default_factory=lambda: defaultdict(asyncio.Queue))
    drill_tasks: asyncio.Queue[Attempt] = field(default_factory=asyncio.Queue)
    under_way: dict[str, int] = field(default_factory=dict)

    def note(self, callout: CallOut, event: Event, drill: bool) -> None:
        """Hand over what starts now. A call task has nothing to send, but a drill may have to be taken back."""
        within = otel.get_current_span().get_span_context()
        attempt = Attempt(callout, drill, asyncio.get_running_loop().time(), within)
        if callout.sends(callout.token) and callout.desk in self.queues:
            self.queues[callout.desk].put_nowait(attempt)
            self.under_way[callout.key] = attempt.dead_at
        elif drill and callout.by_person and callout.status is not CallOutStatus.ENDED:
            self.drill_tasks.put_nowait(attempt)

    def holds(self, address: Address, due: datetime) -> bool:
        """Whether that moment would end an attempt which waits here for its turn, or for its desk's answer."""
        return self.under_way.get(address.instance) == unix_milliseconds(due)

    def let_go(self, attempt: Attempt) -> None:
        """Its outcome is learnt; unless a later attempt is under way by now, nothing is."""
        if self.under_way.get(attempt.callout.key) == attempt.dead_at:
            del self.under_way[attempt.callout.key]


@dataclass(frozen=True, eq=False)
class Sender:
    """What all desks' senders share."""

    callouts: Keeper[CallOut]
    vault: Vault
    cities: Cities
    now: Callable[[], datetime]
    base_url: str
    standstill: Standstill

    async def outgoing(self, attempt: Attempt, desk: DeskEntry) -> Outgoing:
        """What goes out now. Raises Unavailable."""
        callout = attempt.callout
        return await compose_outgoing(
            callout,
            partial(open_disclosure, self.vault, callout, medical=desk.medical),
            drill=attempt.drill,
            spoken_number=spoken_number_of(self.cities, callout),
            reports_to=f"{self.base_url}/desks/{callout.desk}/reports",
        )

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
    """The one sender of one desk whose wire sends."""

    desk: str
    entry: DeskEntry
    context: WireContext
    due: DueAttempts
    sender: Sender

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with (
            connect_wire(self.desk, self.entry.wire, self.context) as wire,
            asyncio.TaskGroup() as posts,
        ):
            while True:
                await self._free.acquire()
                attempt = await self.due.queues[self.desk].get()
                posts.create_task(self._attempt(attempt, wire))

    async def _attempt(self, attempt: Attempt, wire: Wire) -> None:
        with otel.use_span(NonRecordingSpan(attempt.within)):
            try:
                said = await self._said(attempt, wire)
            finally:
                self._free.release()
            while said is not None:
                await self.sender.learn(attempt, said)
                said = said.then if isinstance(said, Answer) else None
            self.due.let_go(attempt)

    async def _said(self, attempt: Attempt, wire: Wire) -> Answer | Silence | None:
        if attempt.drill and not self.entry.marked_exercise:
            return DRILL_REFUSED
        try:
            outgoing = await self.sender.outgoing(attempt, self.entry)
        except Unavailable:
            return Silence("no_key")
        await self.sender.standstill.over()
        try:
            if await self.is_fenced_off(attempt):
                return None
        except Unavailable:
            return Silence(LATE)
        if attempt.callout.key in self._busy:  # a wish to cancel never overtakes the order it speaks of
            return Silence("busy")
        return await self.post_once(attempt, outgoing, wire)

    async def post_once(self, attempt: Attempt, outgoing: Outgoing, wire: Wire) -> Answer | Silence:
        self._busy.add(attempt.callout.key)
        try:
            return await wire.send(outgoing, self.sender.now())
        finally:
            self._busy.discard(attempt.callout.key)

    async def is_fenced_off(self, attempt: Attempt) -> bool:
        """The last look before the POST; the desk's key guards the rest. Raises Unavailable.

        What this process knows is enough while the commit is fresh. A later attempt asks the store: it leaves as it is
        if nothing has come before it, for to make it anew would make the lateness worse. An answer that took as long
        is asked for once more, for this process may have stood still; no more often, for the store may just be slow.
        """
        callout, known_at = attempt.callout, attempt.committed
        address, clock = address_of(self.sender.cities, callout), asyncio.get_running_loop().time
        newest = self.sender.callouts.latest_state(address)
        for _ in range(LOOKS):
            if clock() - known_at <= LEAVES_WITHIN or (newest and newest.forbids(callout.token)):
                break
            known_at = clock()
            newest = await self.sender.callouts.get(address)
        if newest is None or not newest.forbids(callout.token):
            return False
        log.info("attempt_fenced_off", key=callout.key, token=callout.token, newest=newest.token, status=newest.status)
        return True


def desk_lanes(sender: Sender, due: DueAttempts, context: WireContext) -> tuple[DeskLane, ...]:
    return tuple(
        DeskLane(desk, known, context, due, sender)
        for pack in sender.cities.values()
        for desk, known in pack.every_desk.items()
        if known.wire.abilities.sends
    )


async def refuse_drills(sender: Sender, due: DueAttempts) -> None:
    """Take back, for ever, the call tasks of drills for desks that have not agreed to a marked exercise."""
    while True:
        attempt = await due.drill_tasks.get()
        known = sender.cities.desk_entry(attempt.callout.desk)
        if known is None or not known.marked_exercise:
            await sender.learn(attempt, DRILL_REFUSED)


def address_of(cities: Cities, about: CallOut | Message) -> Address:
    """`case/desk/n`, with its desk's city; with the line's city if the desk's has no pack."""
    desk, n = getattr(about, "desk", ""), getattr(about, "n", 0)
    assert about.case is not None
    home = desk_city(desk)
    return Address(callout_key(about.case, desk, n), home if home in cities else about.city)


def spoken_number_of(cities: Cities, callout: CallOut) -> str:
    assert callout.case is not None
    return cities.spoken_number(callout.city, callout.case)


def _outcome(callout: CallOut, said: Answer | Silence) -> Command:
    assert callout.case is not None
    which = {"case": callout.case, "city": callout.city, "desk": callout.desk, "n": callout.n, "token": callout.token}
    if isinstance(said, Silence):
        return AttemptFailed(**which, reason=said.reason)
    answered = outgoing_type(callout).answered
    return answered(**which, rung=said.rung, officer=said.officer, event_no=said.event_no, code=said.code)


def _cause(attempt: Attempt, said: Answer | Silence) -> IdempotencyKey:
    # Not of officer or event number: nothing that is derived from a person is said unkeyed.
    outcome = said.rung if isinstance(said, Answer) else said.reason
    named = f"{attempt.callout.key}|{attempt.callout.token}|{outcome}"
    return IdempotencyKey(uuid5(NAMES, named), drill=attempt.drill)
