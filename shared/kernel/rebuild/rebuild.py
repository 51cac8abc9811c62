"""Rebuild: after a lost store, the same projection again from the log of record. Nothing is decided, nothing is sent.

Personal data stays sealed all the way: neither a master key nor a case's own key is opened.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID, uuid5

from shared.contract.event import Event
from shared.kernel import clock
from shared.kernel.clock import unix_milliseconds
from shared.kernel.log.bus import PARTITIONS, Bus, Record
from shared.kernel.log.record import header_text, open_reader, read_records
from shared.kernel.machine.cloudevent import source_of
from shared.kernel.machine.fingerprint import WILDCARD_FINGERPRINT
from shared.kernel.machine.keeper import NAMES, Effect, IdempotencyKey, Keeper
from shared.kernel.machine.machine import Machine
from shared.kernel.machine.shards import shard_of
from shared.kernel.machine.store import Command, Store
from shared.kernel.machine.timers import Holds, Timers, never
from shared.kernel.machine.vault import KEYS_TOPIC, Vault, key_name
from shared.kernel.process.service import BuildService, Kit
from shared.kernel.process.settings import Settings
from shared.kernel.rebuild.fold import LoggedEvent, ReplayedInstance, replay_instances
from shared.kernel.rebuild.projection import ProjectionDigest, StoredInstance

S = TypeVar("S")

AT_ONCE = 200
"""Instances written in one round trip."""


@dataclass
class RebuildProgress:
    """How far it has come, and what was remarkable.

    `total_records`: those of the service's topics, `records` so many of them are read. `unread`: where records are that
    no machine of the service can have emitted. `torn`: instances of which the log lacks something. `already_stored`:
    those that the store had, left as they are. `recovered`: those that were at something.
    """

    service: str
    total_records: int = 0
    records: int = 0
    digest: ProjectionDigest = field(default_factory=ProjectionDigest)
    unread: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    already_stored: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)


ReportProgress = Callable[[RebuildProgress], None]


class KeylessSettings(Settings):
    """What a service is built with where nothing is sealed or opened."""

    @cached_property
    def masters(self) -> dict[int, bytes]:
        # A vault needs some key to be built, and nothing was ever sealed with this one.
        return {0: bytes(32)}


@dataclass(frozen=True, eq=False)
class RecordingKit(Kit):
    """A kit that remembers whom it gave a keeper."""

    keepers: dict[str, Keeper[Any]] = field(default_factory=dict)

    def keep(
        self, machine: Machine[S], effects: Mapping[type[Event], Effect] | None = None, holds: Holds = never
    ) -> Keeper[S]:
        """A keeper whose commits have no effect."""
        self.keepers[machine.name] = keeper = super().keep(machine)
        return keeper


@dataclass(frozen=True, eq=False)
class ServiceLog:
    """What the log of record has of one service: the instances of its machines."""

    name: str
    keepers: Mapping[str, Keeper[Any]]
    emits: frozenset[type[Event]]

    @classmethod
    def for_service(cls, build: BuildService, settings: Settings, store: Store) -> "ServiceLog":
        """Of the service that `build` makes; it is built, and does not run."""
        name, keyless = build.__module__.split(".")[-2], KeylessSettings(**settings.model_dump())
        kit = RecordingKit(name, keyless, store, Vault(keyless.masters, store), Timers(store, clock.now, list))
        return cls(name, kit.keepers, build(kit).emits)

    def store_name(self, instance: ReplayedInstance[Any]) -> str:
        return self.keepers[instance.machine.name].instance_name(instance.address.home, instance.address.instance)

    async def replay_all(
        self, bus: Bus, progress: RebuildProgress, report: ReportProgress
    ) -> AsyncIterator[ReplayedInstance[Any]]:
        """Every instance of the service, folded from its events. Raises KafkaError, OSError."""
        machines = [keeper.machine for keeper in self.keepers.values()]
        async for case in self._cases(bus, progress, report):
            for instance in replay_instances(machines, case, progress.unread):
                if instance.missing or instance.impossible:
                    progress.torn.append(instance.address.instance)
                yield instance

    async def _cases(
        self, bus: Bus, progress: RebuildProgress, report: ReportProgress
    ) -> AsyncIterator[list[LoggedEvent]]:
        """One case's events after the other; those of one partition are held in memory at a time.

        Where partitions were added a case lies in several: all are held then.
        """
        kinds = {event.type_name(): event for event in self.emits}
        async with open_reader(bus, *sorted({event.topic for event in self.emits})) as (reader, ends):
            progress.total_records = sum(ends.values())
            numbers = {partition.partition for partition in ends}
            for together in [{number} for number in numbers] if len(numbers) == PARTITIONS else [numbers]:
                cases: defaultdict[bytes | None, list[LoggedEvent]] = defaultdict(list)
                round_ends = {partition: end for partition, end in ends.items() if partition.partition in together}
                async for record in read_records(reader, round_ends):
                    progress.records += 1
                    if logged := _logged_event(record, kinds):
                        cases[record.key].append(logged)
                    else:
                        progress.unread.append(_record_place(record))
                for case in cases.values():
                    yield case
                report(progress)


async def rebuild_service(
    service_log: ServiceLog, bus: Bus, store: Store, epoch: int, report: ReportProgress
) -> RebuildProgress:
    """Write every instance that the store has not, and have those that were at something recover.

    `epoch` must be greater than that of any rebuild before. Raises KafkaError, Unavailable.
    """
    progress = RebuildProgress(service_log.name)
    waiting: list[ReplayedInstance[Any]] = []
    async for instance in service_log.replay_all(bus, progress, report):
        if instance.is_past_drill(epoch):
            continue
        waiting.append(instance)
        if len(waiting) >= AT_ONCE:
            await _restore(service_log, store, waiting, epoch, progress)
            waiting.clear()
    await _restore(service_log, store, waiting, epoch, progress)
    return progress


async def restore_keys(bus: Bus, store: Store, report: ReportProgress) -> RebuildProgress:
    """Write every wrapped case key that the log has and the store has not; an erased one stays erased."""
    progress = RebuildProgress(KEYS_TOPIC)
    newest: dict[bytes | None, Command | None] = {}
    async with open_reader(bus, KEYS_TOPIC) as (reader, ends):
        progress.total_records = sum(ends.values())
        async for record in read_records(reader, ends):
            progress.records += 1
            try:
                newest[record.key] = _key_command(record)
            except ValueError:
                progress.unread.append(_record_place(record))
    commands = [command for command in newest.values() if command]
    for at in range(0, len(commands), AT_ONCE):
        await store.ask_all(commands[at : at + AT_ONCE])
    progress.digest.instances = len(commands)
    report(progress)
    return progress


async def _restore(
    service_log: ServiceLog, store: Store, folded: list[ReplayedInstance[Any]], epoch: int, progress: RebuildProgress
) -> None:
    kept = [stored_form(service_log.keepers[instance.machine.name], instance) for instance in folded]
    commands = [_restore_command(service_log, instance, one) for instance, one in zip(folded, kept, strict=True)]
    written = await store.ask_all(commands) if commands else []
    for instance, one, new in zip(folded, kept, written, strict=True):
        if not instance.drill:  # what the store lets go of is not compared
            progress.digest.add(service_log.store_name(instance), one)
        if not new:
            progress.already_stored.append(instance.address.instance)
        elif wish := instance.machine.recover(instance.state, epoch):
            key = IdempotencyKey(uuid5(NAMES, f"recover|{instance.machine.name}|{instance.address.instance}|{epoch}"))
            await service_log.keepers[instance.machine.name].learn(wish, key)
            progress.recovered.append(instance.address.instance)


def stored_form(keeper: Keeper[S], instance: ReplayedInstance[S]) -> StoredInstance:
    """What the store is to keep of this instance."""
    return StoredInstance(instance.version, keeper.states.dump_json(instance.state), instance.drill, instance.causes)


def _restore_command(service_log: ServiceLog, instance: ReplayedInstance[Any], kept: StoredInstance) -> Command:
    """The call of the Function `restore` that writes this instance as its last commit had left it."""
    keeper, address = service_log.keepers[instance.machine.name], instance.address
    deadline = instance.machine.deadline(instance.state)
    return (
        "FCALL",
        "restore_2",
        3,
        keeper.instance_name(address.home, address.instance),
        keeper.due_name(shard_of(address.home)),
        keeper.instance_name(address.home, "listed"),
        kept.version,
        kept.state,
        int(kept.drill),
        address.instance,
        f"{instance.machine.name}|{address.home}|{instance.city}|{address.instance}",
        unix_milliseconds(deadline) if deadline else "",
        unix_milliseconds(instance.listed_since) if instance.listed_since else "",
        WILDCARD_FINGERPRINT,
        *kept.causes,
    )


def _logged_event(record: Record, kinds: Mapping[str, type[Event]]) -> LoggedEvent | None:
    """The record as one of our events, if it calls itself one."""
    named = dict(record.headers)
    kind, *about = (named.get(name) or b"" for name in ("ce_type", "ce_id", "ce_cause", "ce_sequence"))
    event = kinds.get(kind.decode(errors="replace"))
    if event is None or named.get("ce_source") != source_of(event.service).encode():
        return None
    if record.value is None or not all(about):
        return None
    event_id, cause, sequence = (word.decode(errors="replace") for word in about)
    return LoggedEvent(
        _record_place(record), event, event_id, cause, sequence, named.get("ce_drill") == b"true", record.value
    )


def _record_place(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _key_command(record: Record) -> Command | None:
    """What keeps a wrapped case key; nothing for a tombstone."""
    city = header_text(record, "ce_city")
    return (
        ("SET", key_name(UUID((record.key or b"").decode()), city), record.value, "NX")
        if record.value and city
        else None
    )
