"""The open instances of a machine, those that have a deadline or are listed: as the store has them, kept in memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.kernel.machine.keeper import Keeper
from shared.kernel.machine.machine import Address
from shared.kernel.machine.shards import shard_of

S = TypeVar("S")


@dataclass(frozen=True)
class InstanceSnapshot(Generic[S]):
    """An instance as the store had it."""

    state: S
    drill: bool
    version: bytes


class OpenInstances(Generic[S]):
    """Those of some cities. What did not move since the last reading is not fetched again."""

    def __init__(self, keeper: Keeper[S], homes: Iterable[str]) -> None:
        self._keeper = keeper
        self._homes = sorted(homes)
        self._tags = sorted({shard_of(home) for home in self._homes})
        self._seen: dict[Address, InstanceSnapshot[S]] = {}

    async def read(self, also: Iterable[Address] = ()) -> dict[Address, InstanceSnapshot[S]]:
        """Every open instance, and those at `also`, as far as the store has them and they can be read.

        Raises Unavailable.
        """
        asked = list(dict.fromkeys((*await self._find_addresses(), *also)))
        # Versions first: few instances move between two readings, and their states are large.
        versions = await self._fetch(asked, "v")
        moved = [at for at, [version] in zip(asked, versions, strict=True) if version and version != self._version(at)]
        here = {at for at, [version] in zip(asked, versions, strict=True) if version}
        fetched = zip(moved, await self._fetch(moved, "s", "d", "v"), strict=True)
        fresh = {
            at: InstanceSnapshot(state, drill == b"1", version or b"")
            for at, (stored, drill, version) in fetched
            if (state := self._keeper.read_state(at.instance, stored)) is not None
        }
        self._seen = {at: seen for at, seen in self._seen.items() if at in here} | fresh
        return self._seen

    async def _find_addresses(self) -> list[Address]:
        due = [("ZRANGE", self._keeper.due_name(tag), 0, -1) for tag in self._tags]
        listed = [("ZRANGE", self._keeper.instance_name(home, "listed"), 0, -1) for home in self._homes]
        replies = await self._keeper.store.ask_all([*due, *listed])
        members = (member.decode().split("|", 3) for reply in replies[: len(due)] for member in reply)
        waiting = [Address(m[3], m[1]) for m in members if m[0] == self._keeper.machine.name and m[1] in self._homes]
        open_ones = (
            Address(instance.decode(), home)
            for home, reply in zip(self._homes, replies[len(due) :], strict=True)
            for instance in reply
        )
        return list(dict.fromkeys((*waiting, *open_ones)))

    async def _fetch(self, addresses: list[Address], *fields: str) -> list[list[bytes | None]]:
        if not addresses:
            return []
        names = (self._keeper.instance_name(address.home, address.instance) for address in addresses)
        replies: list[Any] = await self._keeper.store.ask_all([("HMGET", name, *fields) for name in names])
        return replies

    def _version(self, address: Address) -> bytes | None:
        seen = self._seen.get(address)
        return seen.version if seen else None
