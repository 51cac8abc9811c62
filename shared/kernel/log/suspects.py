"""Which record ends the process: after a crash, attempts are counted in the store before they are made.

A partition is marked in the store while it is consumed and unmarked when it is released in order, so all of this costs
nothing while all is well. Whoever is assigned a partition that is still marked handles what lay there with care: it
writes a count before each attempt and takes it back after. A count that is found from before means a crash with this
record in work, whether by an exception, a signal or `_exit`; from then on the record is handled alone, so that the
records beside it are suspected once at the most. The others go on a few at a time, for there is a queue to work off.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from aiokafka import TopicPartition

from shared.kernel.errors import Malformed, Unavailable
from shared.kernel.log.bus import Record
from shared.kernel.machine.store import Store

CRASHES = 3
"""Ends of the process with one record in work, after which it is put aside; nobody could count the first."""


BESIDE = 32
"""Records without a count that are handled side by side; as many may come to bear one for another's sake."""


class CrashSuspects:
    """What one service suspects. Only `counted_attempt` raises Unavailable: uncounted, a suspect is not handled."""

    def __init__(self, service: str, store: Store) -> None:
        self._store = store
        self._marks = f"{service}:heard"
        self._counts = f"{service}:suspects"
        self._unclean: set[TopicPartition] = set()
        self._crashes: dict[str, int] = {}
        self._alone = asyncio.Lock()
        self._side_by_side = asyncio.Semaphore(BESIDE)

    async def mark_assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Mark these partitions; those that were marked already are to be handled with care."""
        if not partitions:
            return
        names = [_name(partition) for partition in partitions]
        marking = [word for name in names for word in (name, 1)]
        with suppress(Unavailable):
            marked, _ = await self._store.ask_all([("HMGET", self._marks, *names), ("HSET", self._marks, *marking)])
            self._unclean.update(p for p, mark in zip(partitions, marked, strict=True) if mark)

    async def mark_released(self, partitions: Collection[TopicPartition]) -> None:
        """Unmark these partitions; nothing of them may be in work. Those whose records never came stay as they were."""
        clean = [partition for partition in partitions if partition not in self._unclean]
        self._unclean.difference_update(partitions)
        if clean:
            with suppress(Unavailable):
                await self._store.ask("HDEL", self._marks, *map(_name, clean))

    def careful_until(self, partition: TopicPartition, newest: int) -> int:
        """The offset up to which to take care, asked once when a partition's first records come; 0 without a crash."""
        unclean = partition in self._unclean
        self._unclean.discard(partition)
        return newest if unclean else 0

    @asynccontextmanager
    async def counted_attempt(self, record: Record) -> AsyncIterator[None]:
        """The body handles the record; if it was in work at a crash, no other suspect is handled meanwhile.

        Raises Malformed once the process ended too often with the record in work.
        """
        where = f"{_name(record)}/{record.offset}"
        if where not in self._crashes:
            self._crashes[where] = int(await self._store.ask("HGET", self._counts, where) or 0)
        async with self._kept_apart(suspected=self._crashes[where] > 0):
            crashes = self._crashes[where] + 1
            if crashes >= CRASHES:
                raise Malformed("crash", f"{crashes} ends of the process with this record in work")
            try:
                # Before the attempt: a crash leaves no moment after it.
                await self._store.ask("HSET", self._counts, where, crashes)
                yield
            except Unavailable:  # the attempt is over, and was no crash
                await self._note("HSET", self._counts, where, crashes - 1)
                raise
            except Malformed:
                await self._acquit(where)
                raise
            await self._acquit(where)

    @asynccontextmanager
    async def _kept_apart(self, *, suspected: bool) -> AsyncIterator[None]:
        """Alone, or beside others that are not suspected; whoever is to be alone comes in when those are through.

        After a crash nobody comes in: the records that wait here are not to be suspected of the next one, too.
        """
        places, failure = BESIDE if suspected else 1, None
        async with self._alone:
            for _ in range(places):
                await self._side_by_side.acquire()
        try:
            yield
        except (Malformed, Unavailable) as known:
            failure = known
        for _ in range(places):
            self._side_by_side.release()
        if failure is not None:
            raise failure

    async def _acquit(self, where: str) -> None:
        del self._crashes[where]
        await self._note("HDEL", self._counts, where)

    async def _note(self, *command: str | int) -> None:
        with suppress(Unavailable):
            await self._store.ask(*command)


def _name(place: TopicPartition | Record) -> str:
    return f"{place.topic}/{place.partition}"
