"""Whether the store is still the one it was: in one that was emptied, old instances must not begin anew."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from shared.kernel.clock import unix_milliseconds
from shared.kernel.errors import Unavailable
from shared.kernel.machine.store import GENERATION, Store

LOOK_EVERY = 0.5
"""Seconds; cases that begin between the loss and the next look are refused like those from before it."""

REWIND = 30_000
"""Milliseconds before the loss to which consumers rewind once the store is rebuilt: rows that still waited for Kafka
are in no log, so what they answered is learnt again. They wait for milliseconds, for seconds where Kafka is silent."""

log = structlog.get_logger()


class StoreGeneration:
    """What one process has seen of its store. When that has become another, `clear_memory` is called, and `rewind_to`
    with a Unix millisecond."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        clear_memory: Callable[[], None],
        rewind_to: Callable[[int], None],
    ) -> None:
        self._store = store
        self._now = now
        self._clear_memory = clear_memory
        self._rewind_to = rewind_to
        self._generation: bytes | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with suppress(Unavailable):
                await self._look()
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        found = await self._store.ask("GET", GENERATION)
        if found is None:
            if (
                self._generation is not None
            ):  # until now nobody could begin a case in it; what is younger never lived before
                await self._store.ask("SET", GENERATION, f"lost:{unix_milliseconds(self._now())}", "NX")
        elif found.startswith(b"lost:"):
            self._note_loss(int(found[5:]))
        else:
            self._note_generation(found)

    def _note_loss(self, since: int) -> None:
        if self._store.lost_at is None:
            log.error("store_lost", signal="warning", since_ms=since, do="jingyi rebuild")
        self._store.lost_at = since

    def _note_generation(self, generation: bytes) -> None:
        if self._generation not in {None, generation} or self._store.lost_at is not None:
            log.warning("store_rebuilt", signal="warning", generation=generation.decode())
            self._clear_memory()
            self._rewind_to((self._store.lost_at or unix_milliseconds(self._now())) - REWIND)
        self._generation, self._store.lost_at, self._store.epoch = generation, None, int(generation)
