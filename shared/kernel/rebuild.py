"""Rebuild: after a lost store, the same projection again from the log of record. Nothing is decided, nothing is sent.

Personal data stays sealed all the way: neither a master key nor a case's own key is opened.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from shared.contract.event import Event
from shared.kernel import clock
from shared.kernel.clock import milliseconds
from shared.kernel.fold import Life, Said, lives
from shared.kernel.keeper import UNREAD, Effect, Keeper, Machine
from shared.kernel.record import header, reading, records
from shared.kernel.service import Build, Kit
from shared.kernel.settings import Settings
from shared.kernel.shards import shard_of
from shared.kernel.store import Command, Store
from shared.kernel.timers import Timers
from shared.kernel.vault import KEYS_TOPIC, Vault, key_name

S = TypeVar("S")

AT_ONCE = 200
"""Instances written in one round trip."""


@dataclass(frozen=True, eq=False)
class Roll(Kit):
    """A kit that remembers whom it gave a keeper."""

    keepers: list[Keeper[Any]] = field(default_factory=list)

    def keep(self, machine: Machine[S], effects: Mapping[type[Event], Effect] | None = None) -> Keeper[S]:
        """A keeper whose commits have no effect."""
        keeper = super().keep(machine)
        self.keepers.append(keeper)
        return keeper


@dataclass
class Progress:
    """How far it has come. `there` names instances that the store had already; they are left as they are."""

    service: str
    of: int = 0
    records: int = 0
    instances: int = 0
    unread: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)


Told = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Remains:
    """What the log of record has of one service: its machines' instances."""

    name: str
    keepers: tuple[Keeper[Any], ...]
    emits: frozenset[type[Event]]

    @classmethod
    def of(cls, build: Build, settings: Settings, store: Store) -> "Remains":
        """Of the service that `build` makes; it is built, and does not run."""
        name = build.__module__.split(".")[-2]
        timers = Timers(store, clock.now, list)
        kit = Roll(name, settings, store, Vault({0: bytes(32)}, store), timers)
        service = build(kit)
        return cls(name, tuple(kit.keepers), service.emits)

    async def lives(self, bus: Any, progress: Progress, told: Told) -> AsyncIterator[Life[Any]]:
        """Every instance as its events tell it. Raises KafkaError."""
        machines = [keeper.machine for keeper in self.keepers]
        async for case in self._cases(bus, progress, told):
            for life in lives(machines, case, progress.unread):
                progress.instances += 1
                if life.missing or life.impossible:
                    progress.torn.append(life.address.instance)
                yield life

    async def _cases(self, bus: Any, progress: Progress, told: Told) -> AsyncIterator[list[Said]]:
        """One case's events after the other; a partition is held in memory at a time."""
        kinds = {event.type_name(): event for event in self.emits}
        async with reading(bus, *sorted({event.topic for event in self.emits})) as (reader, ends):
            progress.of = sum(ends.values())
            for number in sorted({partition.partition for partition in ends}):
                here = {partition: end for partition, end in ends.items() if partition.partition == number}
                cases: defaultdict[bytes, list[Said]] = defaultdict(list)
                async for record in records(reader, here):
                    progress.records += 1
                    if said := _said(record, kinds):
                        cases[record.key].append(said)
                    else:
                        progress.unread.append(_where(record))
                for case in cases.values():
                    yield case
                told(progress)


async def rebuild(remains: Remains, bus: Any, store: Store, told: Told) -> Progress:
    """Write every instance that the store has not. Raises KafkaError, Unavailable."""
    progress = Progress(remains.name)
    keepers = {keeper.machine.name: keeper for keeper in remains.keepers}
    waiting: list[Life[Any]] = []
    async for life in remains.lives(bus, progress, told):
        waiting.append(life)
        if len(waiting) >= AT_ONCE:
            await _restore(store, keepers, waiting, progress)
            waiting.clear()
    await _restore(store, keepers, waiting, progress)
    return progress


async def restore_keys(bus: Any, store: Store, told: Told) -> Progress:
    """Write every wrapped case key that the log has and the store has not; an erased one stays erased."""
    progress = Progress(KEYS_TOPIC)
    async with reading(bus, KEYS_TOPIC) as (reader, ends):
        progress.of = sum(ends.values())
        newest: dict[bytes, Command | None] = {}
        async for record in records(reader, ends):
            progress.records += 1
            city = header(record, "ce_city")
            newest[record.key] = _key(record, city) if record.value and city else None
    commands = [command for command in newest.values() if command]
    for at in range(0, len(commands), AT_ONCE):
        written = await store.ask_all(commands[at : at + AT_ONCE])
        progress.instances += len(written)
        told(progress)
    return progress


async def _restore(
    store: Store, keepers: Mapping[str, Keeper[Any]], found: Iterable[Life[Any]], progress: Progress
) -> None:
    found = list(found)
    if found:
        written = await store.ask_all([restoring(keepers[life.machine.name], life) for life in found])
        progress.there += [life.address.instance for life, new in zip(found, written, strict=True) if not new]


def restoring(keeper: Keeper[S], life: Life[S]) -> Command:
    """The call of the Function `restore` that writes this instance as its last commit had left it."""
    address, deadline = life.address, life.machine.deadline(life.state)
    return (
        "FCALL",
        "restore",
        3,
        keeper.name(address.home, address.instance),
        keeper.due_name(shard_of(address.home)),
        keeper.name(address.home, "listed"),
        life.version,
        keeper.states.dump_json(life.state),
        int(life.drill),
        address.instance,
        f"{life.machine.name}|{address.home}|{life.city}|{address.instance}",
        milliseconds(deadline) if deadline else "",
        milliseconds(life.listed_since) if life.listed_since else "",
        UNREAD,
        *life.causes,
    )


def _said(record: Any, kinds: Mapping[str, type[Event]]) -> Said | None:
    """The record as one of our events, if it calls itself one."""
    names = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    kind = kinds.get(names.get("ce_type", ""))
    if kind is None or record.value is None or not {"ce_id", "ce_cause", "ce_sequence"} <= names.keys():
        return None
    return Said(
        _where(record),
        kind,
        names["ce_id"],
        names["ce_cause"],
        names["ce_sequence"],
        names.get("ce_drill") == "true",
        record.value,
    )


def _where(record: Any) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _key(record: Any, city: str) -> Command:
    case = UUID(record.key.decode())
    return ("SET", key_name(case, city), record.value, "NX")
