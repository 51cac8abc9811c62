"""The projection in one number: whether a store holds exactly what the log of record tells, and where it does not."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from shared.kernel.fold import Life
from shared.kernel.keeper import Keeper
from shared.kernel.rebuild import AT_ONCE, Progress, Remains, Told
from shared.kernel.store import Store

BITS = 128
APPLIED = "i:"
"""Begins the name of every applied cause in the store's hash of an instance."""


@dataclass
class Digest:
    """A sum over instances, in whatever order they come."""

    total: int = 0
    instances: int = 0

    def add(self, line: bytes) -> None:
        """One more instance."""
        self.total = (self.total + int.from_bytes(blake2b(line, digest_size=BITS // 8).digest())) % 2**BITS
        self.instances += 1

    def __str__(self) -> str:
        return f"{self.total:032x}"


@dataclass
class Comparison:
    """The log's projection and the store's, and the instances in which they differ, each with what differs."""

    progress: Progress
    log: Digest = field(default_factory=Digest)
    store: Digest = field(default_factory=Digest)
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.log == self.store


async def compare(remains: Remains, bus: Any, store: Store, told: Told) -> Comparison:
    """Fold the log and look whether the store has the same; nothing is written. Raises KafkaError, Unavailable.

    Causes that produced no event are in no log: what the store knows of those is not looked at.
    """
    found = Comparison(Progress(remains.name))
    keepers = {keeper.machine.name: keeper for keeper in remains.keepers}
    met: set[str] = set()
    waiting: list[Life[Any]] = []
    async for life in remains.lives(bus, found.progress, told):
        waiting.append(life)
        if len(waiting) >= AT_ONCE:
            met |= await _beside(keepers, waiting, store, found)
            waiting.clear()
    met |= await _beside(keepers, waiting, store, found)
    for keeper in remains.keepers:
        async for name in _kept(keeper, store):
            if name not in met:
                found.store.add(name.encode())
                found.differing[name.rpartition(":")[2]] = "not in the log"
    return found


async def _beside(
    keepers: Mapping[str, Keeper[Any]], folded: Iterable[Life[Any]], store: Store, found: Comparison
) -> set[str]:
    """Add these instances to both digests; their names in the store."""
    named = {keepers[life.machine.name].name(life.address.home, life.address.instance): life for life in folded}
    kept = await store.ask_all([("HGETALL", name) for name in named]) if named else []
    for (name, life), flat in zip(named.items(), kept, strict=True):
        told = _told(keepers[life.machine.name], life)
        had = _had(keepers[life.machine.name], life, flat)
        found.log.add(_line(name, told))
        if had is not None:
            found.store.add(_line(name, had))
        if had != told:
            what = [part for part in told if had and had[part] != told[part]]
            found.differing[life.address.instance] = ", ".join(what) or "not in the store"
    return set(named)


def _told(keeper: Keeper[Any], life: Life[Any]) -> dict[str, Any]:
    state = keeper.states.dump_json(life.state).decode()
    return {"version": life.version, "state": state, "drill": life.drill, "causes": sorted(life.causes)}


def _had(keeper: Keeper[Any], life: Life[Any], flat: list[bytes]) -> dict[str, Any] | None:
    kept = dict(zip(flat[::2], flat[1::2], strict=True))
    if b"s" not in kept:
        return None
    return {
        "version": int(kept[b"v"]),
        "state": keeper.states.dump_json(keeper.states.validate_json(kept[b"s"])).decode(),
        "drill": kept[b"d"] == b"1",
        "causes": sorted(cause for cause in life.causes if f"{APPLIED}{cause}".encode() in kept),
    }


def _line(name: str, told: Mapping[str, Any]) -> bytes:
    return json.dumps([name, told], separators=(",", ":")).encode()


async def _kept(keeper: Keeper[Any], store: Store) -> AsyncIterator[str]:
    """The names of this machine's instances in the store."""
    cursor, pattern = b"0", f"*:{keeper.service}:{keeper.machine.name}:*"
    while True:
        cursor, names = await store.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 2000)
        for name in names:
            if not name.endswith(b":listed"):
                yield name.decode()
        if cursor == b"0":
            return
