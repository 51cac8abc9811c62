"""Whether the store is still the one it was: over an emptied one, or an older copy, old instances must not go on.

A mark of each service rises in the store, and Kafka is told it. A store below the mark that Kafka has, or that this
process has seen, has lost something (docs/decisions/0017-rising-mark.md).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from shared.kernel.clock import unix_milliseconds
from shared.kernel.errors import Unavailable
from shared.kernel.machine.shards import TAGS, generation_name
from shared.kernel.machine.store import GENERATION, Store

LOOK_EVERY = 0.5
"""Seconds; cases that begin between the loss and the next look are refused like those from before it."""

MARK_EVERY = 10.0
"""Seconds; a copy of the store that is no older than this may pass for the store itself."""

IN_FLIGHT = 1
"""Marks by which a store may be behind what was told: a replica that took over in that moment is no older copy."""

VOUCH_WITHIN = 5.0
"""Seconds in which Kafka is to say whether a store without a generation was ever used; then it counts as emptied."""

REWIND = 30_000
"""Milliseconds before the loss to which consumers rewind once the store is rebuilt: rows that still waited for Kafka
are in no log, so what they answered is learnt again. They wait for milliseconds, for seconds where Kafka is silent."""

Mark = tuple[int, int]
"""A generation, and how often it was marked."""

NEVER: Mark = (-1, 0)

log = structlog.get_logger()


class Marks(Protocol):
    """Where marks are kept, outside the store. Both raise Unavailable."""

    @property
    def key(self) -> str:
        """What they go by, there and in the store."""

    async def tell_mark(self, mark: Mark) -> None:
        """Keep it."""

    async def newest_mark(self) -> Mark:
        """The newest that was told; NEVER where none was."""


@dataclass(eq=False)
class StoreGeneration:
    """What one process knows of its store. When that has become another, `clear_memory` is called, and `rewind_to`
    with a Unix millisecond."""

    store: Store
    marks: Marks
    now: Callable[[], datetime]
    clear_memory: Callable[[], None]
    rewind_to: Callable[[int], None]
    _generation: bytes | None = None
    _newest: Mark = NEVER
    _recalled: bool = False
    _presumed_lost: bool = False
    _spread: bytes | None = None

    @property
    def known(self) -> bool:
        """Whether the store has been found to be itself; until then it takes nothing that is new to it."""
        return self._generation is not None

    async def run(self) -> None:
        """Look for ever."""
        vouch_until = asyncio.get_running_loop().time() + VOUCH_WITHIN
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recall())
            tasks.create_task(self._raise_mark())
            while True:
                with suppress(Unavailable):
                    await self._look(patient=asyncio.get_running_loop().time() < vouch_until)
                await asyncio.sleep(LOOK_EVERY)

    async def _recall(self) -> None:
        while not self._recalled:
            with suppress(Unavailable):
                told = await self.marks.newest_mark()
                self._newest, self._recalled = max(self._newest, told), True
            await asyncio.sleep(LOOK_EVERY)

    async def _raise_mark(self) -> None:
        while True:
            with suppress(Unavailable):
                if self._generation is not None and self.store.lost_at is None:
                    await self.marks.tell_mark((self.store.epoch, await self.store.ask("INCR", self.marks.key)))
                    await asyncio.sleep(MARK_EVERY)
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, *, patient: bool) -> None:
        found, marked = await self.store.ask_all([("GET", GENERATION), ("GET", self.marks.key)])
        unused = self._recalled and self._newest == NEVER
        if found is None:
            if unused or self._newest != NEVER or not patient:
                self._presumed_lost = not self._recalled
                begun = "0" if unused else f"lost:{unix_milliseconds(self.now())}"
                await self.store.ask("SET", GENERATION, begun, "NX")
                await self._look(patient=patient)
            return
        if found != self._spread:
            await self.store.ask_all([("SET", generation_name(tag), found) for tag in TAGS])
            self._spread = found
        if b":" in found:
            self._note_loss(found)
            if unused and self._presumed_lost:
                await self.store.ask("SET", GENERATION, 0)
        elif (int(found), (mark := int(marked or 0)) + IN_FLIGHT) < self._newest:
            await self.store.ask("SET", GENERATION, f"older:{unix_milliseconds(self.now())}")
        else:
            self._newest = max(self._newest, (int(found), mark))
            self._note_generation(found)

    def _note_loss(self, found: bytes) -> None:
        kind, _, since = found.decode().partition(":")
        if self.store.lost_at is None:
            log.error("store_lost", signal="alarm", kind=kind, since_ms=int(since), do="jingyi rebuild")
        self.store.lost_at = int(since)

    def _note_generation(self, generation: bytes) -> None:
        if self._generation not in {None, generation} or self.store.lost_at is not None:
            log.warning("store_rebuilt", signal="warning", generation=generation.decode())
            self.clear_memory()
            self.rewind_to((self.store.lost_at or unix_milliseconds(self.now())) - REWIND)
        self._generation, self.store.lost_at, self.store.epoch = generation, None, int(generation)
