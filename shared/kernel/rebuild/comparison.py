"""Whether a store holds exactly what the log of record tells, and where it does not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from shared.kernel.log.bus import Bus
from shared.kernel.machine.keeper import Keeper
from shared.kernel.machine.store import Store
from shared.kernel.rebuild.fold import ReplayedInstance
from shared.kernel.rebuild.projection import ProjectionDigest, StoredInstance
from shared.kernel.rebuild.rebuild import AT_ONCE, RebuildProgress, ReportProgress, ServiceLog, stored_form


@dataclass
class Comparison:
    """The log's projection and the store's, and the instances in which they differ, each with what differs."""

    progress: RebuildProgress
    store: ProjectionDigest = field(default_factory=ProjectionDigest)
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> ProjectionDigest:
        return self.progress.digest

    @property
    def equal(self) -> bool:
        return self.log == self.store


async def compare_with_log(service_log: ServiceLog, bus: Bus, store: Store, report: ReportProgress) -> Comparison:
    """Fold the log and look whether the store has the same; nothing is written. Raises KafkaError, Unavailable."""
    found = Comparison(RebuildProgress(service_log.name))
    names_seen: set[str] = set()
    waiting: list[ReplayedInstance[Any]] = []
    async for instance in service_log.replay_all(bus, found.progress, report):
        if instance.drill:  # the store lets it go after a day
            names_seen.add(service_log.store_name(instance))
            continue
        waiting.append(instance)
        if len(waiting) >= AT_ONCE:
            names_seen |= await _compare(service_log, waiting, store, found)
            waiting.clear()
    names_seen |= await _compare(service_log, waiting, store, found)
    for keeper in service_log.keepers.values():
        async for name in _names(keeper, store):
            if name not in names_seen:
                found.store.add(name, StoredInstance(0, b"", False, ()))
                found.differing[name.rpartition(":")[2]] = "not in the log"
    return found


async def _compare(
    service_log: ServiceLog, folded: list[ReplayedInstance[Any]], store: Store, found: Comparison
) -> set[str]:
    """Add these instances to both digests. Returns their names in the store."""
    names = [service_log.store_name(instance) for instance in folded]
    replies = await store.ask_all([("HGETALL", name) for name in names]) if names else []
    for instance, name, flat in zip(folded, names, replies, strict=True):
        keeper = service_log.keepers[instance.machine.name]
        expected, stored = stored_form(keeper, instance), _stored(keeper, instance, flat)
        found.log.add(name, expected)
        if stored is not None:
            found.store.add(name, stored)
        if stored != expected:
            found.differing[instance.address.instance] = (
                expected.differing_fields(stored) if stored else "not in the store"
            )
    return set(names)


def _stored(keeper: Keeper[Any], instance: ReplayedInstance[Any], flat: list[bytes]) -> StoredInstance | None:
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    if b"s" not in fields:
        return None
    state = keeper.states.dump_json(keeper.states.validate_json(fields[b"s"]))
    causes = tuple(cause for cause in instance.causes if f"i:{cause}".encode() in fields)
    return StoredInstance(int(fields[b"v"]), state, fields[b"d"] == b"1", causes)


async def _names(keeper: Keeper[Any], store: Store) -> AsyncIterator[str]:
    """The names of this machine's instances in the store."""
    cursor, pattern = b"0", f"*:{keeper.service}:{keeper.machine.name}:*"
    while True:
        cursor, names = await store.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 2000)
        for name in names:
            if not name.endswith(b":listed"):
                yield name.decode()
        if cursor == b"0":
            return
