"""Which shards of a service's outbox this process sends, and whose deadlines it therefore passes: one process each."""

import asyncio
from collections.abc import Iterable

from shared.kernel.errors import Unavailable
from shared.kernel.log.outbox import OutboxShard
from shared.kernel.machine.store import Store

LEASE = 3.0
"""Seconds without renewal after which another process may take a shard."""


class OutboxLeases:
    """The shards of one service and the leases that `holder`, this process, has on them.

    `instance` is its lasting name: under it, it takes over what it held before a restart, without waiting.
    """

    def __init__(self, service: str, holder: str, tags: Iterable[str], instance: str | None = None) -> None:
        self._service = service
        self._holder, self._instance = holder, instance
        self.shards = {tag: OutboxShard(tag, service) for tag in tags}

    def shard(self, tag: str) -> OutboxShard:
        """The shard of this tag, also of a city that came later."""
        return self.shards.setdefault(tag, OutboxShard(tag, self._service))

    def held_shards(self) -> list[OutboxShard]:
        """The shards whose lease this process holds."""
        return [shard for shard in self.shards.values() if shard.leased]

    def held_tags(self) -> list[str]:
        return [shard.tag for shard in self.held_shards()]

    async def run(self, store: Store) -> None:
        """Take and renew, for ever. What was not held without a break may have rows of others' before ours."""
        us: tuple[str | int, ...] = (self._holder, int(LEASE * 1000))
        called = us if self._instance is None else (*us, self._instance)
        while True:
            try:
                held = await store.write_all([("FCALL", "lease_2", 1, s.lease, *called) for s in self.shards.values()])
                called = us  # taking over is for the start alone
            except Unavailable:
                held = [0] * len(self.shards)  # who cannot renew must take them for lost
            for shard, ours in zip(list(self.shards.values()), held, strict=False):  # `shard` may add one meanwhile
                if not ours or not shard.leased:
                    shard.held.clear()
                    shard.fall_behind()
                shard.leased = bool(ours)
            await asyncio.sleep(LEASE / 3)

    async def release(self, store: Store) -> None:
        """Give them back, so that another process need not wait. Raises Unavailable."""
        await store.ask_all([("DEL", shard.lease) for shard in self.held_shards()])
