"""The one door into a machine: state, applied id, deadline, list and outbox commit together or not at all."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid5

import structlog
from pydantic import TypeAdapter, ValidationError

from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.kernel import trace
from shared.kernel.clock import unix_milliseconds
from shared.kernel.errors import Unavailable
from shared.kernel.machine import cloudevent
from shared.kernel.machine.fingerprint import TooManyActs, check_same_body
from shared.kernel.machine.machine import Address, Machine, address_of
from shared.kernel.machine.shards import generation_name, shard_of
from shared.kernel.machine.store import Commit, OutboxRow, Store
from shared.kernel.machine.vault import Vault, key_name, key_row

S = TypeVar("S")

log = structlog.get_logger()

NAMES = UUID("6f1d7a52-3c0e-5d3b-9a55-123561101200")
"""The namespace of every derived id."""

REMEMBERED = 20_000
"""States kept in memory at the most; the store refuses a commit on any that is not the newest."""


@dataclass(frozen=True)
class IdempotencyKey:
    """Under what a message is learnt: under an `id` that was applied before, it changes nothing.

    `fingerprint` tells another body: KeyReused. `actor`: whose moves are counted; nobody's if help depends on them.
    """

    id: UUID
    fingerprint: str = ""
    drill: bool = False
    actor: str = ""


@dataclass(frozen=True)
class Learned(Generic[S]):
    """What an instance is after learning; `events` are empty if the key was already applied."""

    state: S
    events: tuple[Event, ...]
    already_applied: bool
    drill: bool
    version: int


@dataclass(frozen=True)
class _Cached(Generic[S]):
    state: S
    version: int = 0
    drill: bool = False
    ours: bool = True


@dataclass(frozen=True)
class _Change(Generic[S]):
    address: Address
    message: Message
    key: IdempotencyKey
    before: _Cached[S]
    after: _Cached[S]
    events: tuple[Event, ...]


Effect = Callable[[Any, Any, bool], None]
"""Told (state, event, drill) right after the commit of an event; must not block."""

NoteDeadline = Callable[["Keeper[Any]", Address, str, datetime | None], None]
"""Told the deadline of an instance (of a line's city) after each change."""


@dataclass(eq=False)
class Keeper(Generic[S]):
    """Keeps the instances of one machine for one service."""

    service: str
    machine: Machine[S]
    store: Store
    vault: Vault
    now: Callable[[], datetime]
    note_deadline: NoteDeadline
    effects: Mapping[type[Event], Effect] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states = TypeAdapter(type(self.machine.blank))
        self._cache: OrderedDict[Address, _Cached[S]] = OrderedDict()
        self._unreadable: set[str] = set()

    async def learn(self, message: Message, key: IdempotencyKey) -> Learned[S]:
        """Let the instance learn `message` once, however often and from wherever it comes.

        Returns after the fsync. Raises Rejected (nothing written) or Unavailable (the outcome may be unknown:
        learn again under the same key).
        """
        address = address_of(self.machine, message)
        with trace.in_case_trace(message.case, f"learn {self.machine.name}"):
            outcome: Learned[S] | _Cached[S] = self._cache.get(address) or _Cached(self.machine.blank)
            while isinstance(outcome, _Cached):
                outcome = await self._decide(address, message, key, outcome)
            return outcome

    async def get(self, address: Address) -> S | None:
        """The instance as the store has it now; None if nothing is known of it."""
        kept, _ = await self._fetch(address, None)
        return kept.state if kept.version else None

    def clear_cache(self) -> None:
        """Keep nothing in memory, for the store is another than it was."""
        self._cache.clear()

    def latest_state(self, address: Address) -> S | None:
        """The newest state this process has seen, without asking the store."""
        kept = self._cache.get(address)
        return kept.state if kept else None

    async def listed_states(self, home: str) -> list[S]:
        """The open instances whose home is this city, longest open first; drills are not among them."""
        listed: list[bytes] = await self.store.ask("ZRANGE", self.instance_name(home, "listed"), 0, -1)
        members = [member.decode() for member in listed]
        if not members:
            return []
        found = await self.store.ask_all([("HMGET", self.instance_name(home, m), "s", "d") for m in members])
        read = (self.read_state(m, state) for m, (state, drill) in zip(members, found, strict=True) if drill != b"1")
        return [state for state in read if state is not None]

    def read_state(self, instance: str, stored: bytes | None) -> S | None:
        """A state among others; None if there is none, or none that can be read: it must not hide the others."""
        try:
            return self.states.validate_json(stored) if stored else None
        except ValidationError:
            if instance not in self._unreadable:
                self._unreadable.add(instance)
                log.error("unreadable_state", machine=self.machine.name, instance=instance, signal="alarm")  # noqa: TRY400 its message may be personal
            return None

    def due_name(self, tag: str) -> str:
        """The store's name for this service's deadlines in one shard."""
        return f"{tag}:{self.service}:due"

    async def _decide(
        self, address: Address, message: Message, key: IdempotencyKey, kept: _Cached[S]
    ) -> Learned[S] | _Cached[S]:
        """Decide on what is kept and commit; what the store has instead, if that is newer."""
        try:
            events = self._events_for(address, kept, message)
        except Rejected:  # perhaps only by a state that is old, or because it was applied before
            fresh, fingerprint = await self._fetch(address, key)
            if fingerprint is not None:
                return self._already_applied(fresh, key, fingerprint)
            if fresh.version == kept.version:
                raise
            return fresh
        if not events and not (isinstance(message, Command) and address in self._cache):
            fresh, fingerprint = await self._fetch(address, key)
            if fresh.version == kept.version or fingerprint is not None:
                return Learned(fresh.state, (), fingerprint is not None, fresh.drill, fresh.version)
            return fresh
        version = kept.version + bool(events)  # a command without events commits, too: its key is remembered
        drill = kept.drill if kept.version else key.drill  # an instance is a drill from its first event on
        after = _Cached(reduce(self.machine.evolve, events, kept.state), version, drill)
        return await self._commit(_Change(address, message, key, kept, after, events))

    async def _commit(self, change: "_Change[S]") -> Learned[S] | _Cached[S]:
        pending = self.vault.pending_key(change.message.case, change.address.home) if change.events else None
        reply = await self.store.commit(self._commit_of(change, pending))
        match reply[0]:
            case b"KNOWN":
                return self._already_applied(self._remember(change.address, reply), change.key, reply[4].decode())
            case b"STALE":
                return self._remember(change.address, reply)
            case b"KEY":
                self.vault.drop_key(change.message.case, change.address.home)
                raise Unavailable("The case was opened twice at the same moment. Send the request again.")
            case b"MANY":
                raise TooManyActs
        if pending:
            self.vault.mark_stored(change.message.case, change.address.home, pending)
        self._note_applied(change)
        return Learned(change.after.state, change.events, False, change.after.drill, change.after.version)

    def _note_applied(self, change: "_Change[S]") -> None:
        if not change.events:
            return
        after = self._cached(change.address, change.after)
        self.note_deadline(self, change.address, change.message.city, self.machine.deadline(after.state))
        for event in change.events:
            if effect := self.effects.get(type(event)):
                effect(after.state, event, after.drill)

    def _commit_of(self, change: "_Change[S]", pending: bytes | None) -> Commit:
        address, after, events, tag = change.address, change.after, change.events, shard_of(change.address.home)
        deadline = self.machine.deadline(after.state)
        rows = tuple(self.outbox_row(change, n, event) for n, event in enumerate(events))
        if pending:  # first, so that the log has the key before anything sealed under it
            rows = (key_row(change.message.case, address.home, pending), *rows)
        return Commit(
            tag=tag,
            keys=(
                self.instance_name(address.home, address.instance),
                f"{tag}:{self.service}:outbox",
                self.due_name(tag),
                self.instance_name(address.home, "listed"),
                key_name(change.message.case, address.home),
                generation_name(tag),
            ),
            args=(
                change.before.version,
                str(change.key.id),
                change.key.fingerprint,
                self.states.dump_json(after.state) if events else b"",
                int(after.drill),
                address.instance,
                f"{self.machine.name}|{address.home}|{change.message.city}|{address.instance}",
                unix_milliseconds(deadline) if deadline else "",
                unix_milliseconds(events[-1].at)
                if events and not after.drill and self.machine.listed(after.state)
                else "",
                pending or b"",
                change.key.actor,
                *(part for row in rows for part in row.parts),
            ),
            rows=rows,
            follows_others=not change.before.ours,
        )

    def outbox_row(self, change: "_Change[S]", n: int, event: Event) -> OutboxRow:
        name = f"{self.machine.name}|{change.address.instance}|{change.key.id}|{n}"
        sequence = f"{change.after.version:08d}{n:02d}"
        headers = cloudevent.cloudevent_headers(event, uuid5(NAMES, name), cloudevent.source_of(self.service), sequence)
        headers["ce_cause"] = str(change.key.id)
        if change.after.drill:
            headers["ce_drill"] = "true"
        value = event.model_dump_json(exclude_none=True).encode()
        return OutboxRow(event.topic, str(event.case), headers, value, event.urgent)

    async def _fetch(self, address: Address, key: IdempotencyKey | None) -> tuple[_Cached[S], str | None]:
        applied = f"i:{key.id}" if key else "-"
        reply = await self.store.ask(
            "HMGET", self.instance_name(address.home, address.instance), "v", "s", "d", applied
        )
        if reply[1] is None:
            self.store.check_not_lost(address.instance)
        newest = self._cache.get(address)
        kept = self._remember(address, [b"", *(part or b"" for part in reply[:3])])
        # A commit of ours may have overtaken this reply: reads and commits have a connection each.
        if newest and newest.version > kept.version > 0:
            kept = self._cached(address, newest)
        return kept, None if reply[3] is None else reply[3].decode()

    def _remember(self, address: Address, reply: list[bytes]) -> _Cached[S]:
        if not reply[2]:
            self._cache.pop(address, None)
            return _Cached(self.machine.blank)
        kept = self._cache.get(address)
        if kept is None or kept.version != int(reply[1]):
            kept = _Cached(self.states.validate_json(reply[2]), int(reply[1]), reply[3] == b"1", ours=False)
        return self._cached(address, kept)

    def _cached(self, address: Address, kept: _Cached[S]) -> _Cached[S]:
        self._cache[address] = kept
        self._cache.move_to_end(address)
        if len(self._cache) > REMEMBERED:
            self._cache.popitem(last=False)
        return kept

    def _already_applied(self, kept: _Cached[S], key: IdempotencyKey, fingerprint: str) -> Learned[S]:
        check_same_body(fingerprint, key.fingerprint)
        return Learned(kept.state, (), True, kept.drill, kept.version)

    def _events_for(self, address: Address, kept: _Cached[S], message: Message) -> tuple[Event, ...]:
        now = self.now()
        if isinstance(message, DeadlinePassed):
            # Timers measure the wait, so a wall clock that was put back must not undo the deadline.
            return self.machine.decide(kept.state, message, max(now, message.due))
        if not kept.version and isinstance(message, Event):
            self.store.check_not_lost(address.instance)
            if message.at.timestamp() < self.store.epoch:
                return self.machine.begin_again(message, now, self.store.epoch)
        return self.machine.decide(kept.state, message, now)

    def instance_name(self, home: str, instance: str) -> str:
        """The store's name for an instance, or for the list `listed` of a city."""
        return f"{shard_of(home)}:{self.service}:{self.machine.name}:{home}:{instance}"
