"""台账镜像: the standing rows in memory; while the store is silent they ring, and are answered, from here."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from uuid import UUID

import structlog

from services.hotline_intake.alarm.decide import RingNow
from services.hotline_intake.call import Call
from shared.contract.event import Command, DeadlinePassed, Event, Message
from shared.kernel.errors import Unavailable, crash_places
from shared.kernel.machine.keeper import IdempotencyKey, Keeper, Learned
from shared.kernel.machine.machine import Address, by_case
from shared.kernel.machine.open_instances import InstanceSnapshot, OpenInstances

SILENT_AFTER = 3.0
"""Seconds without an answer from the store after which what it knows is rung from memory (design §5)."""

LOOK_EVERY = 1.0
LOOK_AGAIN = 0.25
"""Seconds between two looks into the store, and while it does not answer."""

TICK = 0.25

REMEMBERED = 900.0
"""Seconds for which a desk that rang from memory may be claimed for that reason."""

log = structlog.get_logger()


@dataclass(eq=False)
class MirroredCall:
    """A call as far as this process knows it. `kept` are acts that the store has not learnt yet; `lost`: it lost it.

    `due` is when `rung`, the call as it was when it was last looked at for ringing, does something by itself.
    """

    call: Call
    drill: bool = False
    moved_at: float = 0.0
    kept: set[UUID] = field(default_factory=set)
    lost: bool = False
    rung: Call | None = None
    due: datetime | None = None

    @property
    def ahead_of_store(self) -> bool:
        """Whether memory knows more of it than the store."""
        return bool(self.kept) or self.lost


class LedgerMirror:
    """The rows of a service's cities. Deadlines run on the monotonic clock from the store's last answer on.

    What rings from memory has the same effects outside as what the store has committed.
    """

    def __init__(self, calls: Keeper[Call], homes: Iterable[str]) -> None:
        self._calls = calls
        self._standing = OpenInstances(calls, homes)
        self._answered_at: float | None = None
        self._wall = calls.now()
        self._restless = asyncio.Event()
        self.silent = False
        self.rows: dict[Address, MirroredCall] = {}
        self._rang: dict[Address, float] = {}

    @property
    def silent_for(self) -> float:
        """Seconds since the store last answered a look, or since the first one."""
        return 0.0 if self._answered_at is None else _moment() - self._answered_at

    def now(self) -> datetime:
        """The wall clock as it was at the store's last answer, moved on by the monotonic clock."""
        return self._wall + timedelta(seconds=self.silent_for)

    def note_silence(self) -> None:
        """The store did not answer: wait for it no more until it does."""
        if not self.silent:
            log.warning("store_silent", signal="warning", standing=len(self.rows))
        self.silent = True
        self._restless.set()

    def _note_unanswered(self, asked_at: float) -> None:
        self._answered_at = asked_at if self._answered_at is None else self._answered_at
        self.note_silence()

    def note_commit(self, address: Address, learned: Learned[Call]) -> None:
        """What this process itself has just committed."""
        row = self.rows.get(address)
        if row is None and learned.state.alarm.standing:
            row = self.rows[address] = MirroredCall(learned.state, learned.drill)
        if row is not None and not row.kept:
            row.call, row.drill, row.moved_at, row.lost = learned.state, learned.drill, _moment(), False
            self._drop(address, row)

    def known_call(self, address: Address) -> MirroredCall:
        """What is known of a call without the store; blank if nothing is."""
        return self.rows.get(address) or MirroredCall(self._calls.latest_state(address) or self._calls.machine.blank)

    async def learn(self, command: Command, cause: IdempotencyKey) -> None:
        """Let the row learn it where it rings: in memory while the store is silent, else in the store."""
        address = by_case(command)
        row = self.rows.get(address)
        if row is not None and (self.silent or row.ahead_of_store):
            self._say(row, command)
        else:
            await self._calls.learn(command, cause)

    def decide_now(self, call: Call, message: Message) -> tuple[Event, ...]:
        """What would be said of the call now. Raises Rejected."""
        return self._calls.machine.decide(call, message, self.now())

    def apply_events(
        self, address: Address, row: MirroredCall, events: tuple[Event, ...], kept: UUID | None = None
    ) -> None:
        """The row after these events; `kept` is the act behind them, which the store will learn later."""
        self.rows[address] = row
        row.call, row.moved_at = reduce(self._calls.machine.evolve, events, row.call), _moment()
        if kept:
            row.kept.add(kept)
            self._restless.set()
        self._ring(address, row)
        self._tell(row, events)

    def strike_kept(self, address: Address, act: UUID) -> None:
        """The store has learnt an act that was kept, or refused it."""
        if row := self.rows.get(address):
            row.kept.discard(act)
            self._drop(address, row)

    def has_rung(self, address: Address) -> bool:
        """Whether the call rang from memory not long ago."""
        return address in self._rang

    def standing_calls(self, home: str) -> list[tuple[Address, MirroredCall]]:
        """The standing rows of a city, drills too."""
        return [(at, row) for at, row in self.rows.items() if at.home == home and row.call.alarm.standing]

    async def alarming_calls(self, home: str) -> list[tuple[Call, bool]]:
        """Calls of a city with a desk that rings or is being phoned, and whether only memory says so."""
        stored: list[Call] = []
        try:
            stored = [] if self.silent else await self._calls.listed_states(home)
        except Unavailable:
            self.note_silence()
        rows = (row for _, row in self.standing_calls(home) if not row.drill and (self.silent or row.ahead_of_store))
        ours = [row.call for row in rows if row.call.alarm.alarming]
        cases = {call.case for call in ours}
        return [*((call, True) for call in ours), *((call, False) for call in stored if call.case not in cases)]

    async def run(self) -> None:
        """Look into the store and ring what is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_for_ever())
            tasks.create_task(self._ring_for_ever())

    async def read_store(self) -> None:
        """Take over what the store has; it rules wherever nothing is kept from it."""
        asked_at = _moment()
        try:
            seen = await self._standing.read(list(self.rows))
        except Unavailable:
            return self._note_unanswered(asked_at)
        if self._calls.store.refuses:  # it can be read, but no deadline passes in it
            self._note_unanswered(asked_at)
        else:
            self._answered_at, self._wall, self.silent = asked_at, self._calls.now(), False
        for address, found in seen.items():
            if not self.silent or address not in self.rows:  # one that refuses knows nothing of what memory has rung
                self._take_over(address, found, asked_at)
        for address, row in self.rows.items():
            if address not in seen and row.moved_at < asked_at and not row.kept:
                row.lost = True
                self._restless.set()
        self._rang = {at: rung for at, rung in self._rang.items() if asked_at - rung < REMEMBERED}
        return None

    def _take_over(self, address: Address, found: InstanceSnapshot[Call], asked_at: float) -> None:
        row = self.rows.get(address)
        if row is not None and (row.kept or row.moved_at > asked_at):
            return
        row = self.rows[address] = MirroredCall(found.state, found.drill, asked_at)
        self._drop(address, row)

    def _drop(self, address: Address, row: MirroredCall) -> None:
        if not row.kept and not row.call.alarm.standing:
            self.rows.pop(address, None)

    async def _look_for_ever(self) -> None:
        while True:
            await self.read_store()
            await asyncio.sleep(LOOK_AGAIN if self.silent else LOOK_EVERY)

    async def _ring_for_ever(self) -> None:
        while True:
            await self._restless.wait()
            for address, row in list(self.rows.items()):
                try:
                    self._ring(address, row)
                except Exception as crash:  # noqa: BLE001 a row must not silence the others
                    log.error("row_failed", case=address.instance, at=crash_places(crash), signal="alarm")  # noqa: TRY400 its message may be personal
                    row.rung, row.due = row.call, None
            if not (self.silent or any(row.ahead_of_store for row in self.rows.values())):
                self._restless.clear()
            await asyncio.sleep(TICK)

    def _ring(self, address: Address, row: MirroredCall) -> None:
        if row.drill or not (row.ahead_of_store or (self.silent and self.silent_for >= SILENT_AFTER)):
            return
        heading = {"case": UUID(address.instance), "city": address.home}
        if row.rung is not row.call:
            self._say(row, RingNow(**heading))
            self._looked(address, row)
        while row.due is not None and row.due <= self.now():
            passed = DeadlinePassed(**heading, instance=address.instance, home=address.home, due=row.due)
            moved = self._say(row, passed)
            self._looked(address, row)
            if not moved:
                break

    def _looked(self, address: Address, row: MirroredCall) -> None:
        row.rung, row.due = row.call, self._calls.machine.deadline(row.call)
        if row.call.alarm.alarming:
            self._rang[address] = _moment()

    def _say(self, row: MirroredCall, message: Command | DeadlinePassed) -> bool:
        events = self.decide_now(row.call, message)
        row.call = reduce(self._calls.machine.evolve, events, row.call)
        self._tell(row, events)
        return bool(events)

    def _tell(self, row: MirroredCall, events: tuple[Event, ...]) -> None:
        for event in events:
            if effect := self._calls.effects.get(type(event)):
                effect(row.call, event, row.drill)


def _moment() -> float:
    return asyncio.get_running_loop().time()
