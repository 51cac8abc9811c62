"""Deadlines: what this process has set passes by its own monotonic clock; what it finds in the store, by wall time.

A wall clock that is wrong, or is put right, in the middle of a claim must not end it while a person phones. An instance
whose machine fails at its deadline is tried three times and then set aside, for a person to look at: every other one of
the service, in every city, waits for its own deadline.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid5

import structlog

from shared.contract.event import DeadlinePassed
from shared.kernel.clock import unix_milliseconds
from shared.kernel.errors import Unavailable, crash_places
from shared.kernel.machine.keeper import NAMES, IdempotencyKey, Keeper, Learned
from shared.kernel.machine.machine import Address
from shared.kernel.machine.shards import shard_of
from shared.kernel.machine.store import Store

POLL = 1.0
"""Seconds between looks into the store, for deadlines another process set."""

AGAIN = 0.1
"""Seconds until a deadline is looked at again that passed while its machine was being woken."""

AT_ONCE = 200
"""Deadlines found in one shard at a time."""

STRIKES = 3
"""Times that a machine may fail at one deadline."""

Holds = Callable[[Address, datetime], bool]
"""Whether this process is still at the work that the deadline of an instance would take for dead."""

SetAside = Callable[["FailedDeadline"], Awaitable[None]]
"""Tells people of an instance that nobody wakes any more. Raises Unavailable: then it is tried again."""

log = structlog.get_logger()


@dataclass(frozen=True)
class FailedDeadline:
    """A deadline at which the machine `machine` failed, of an instance of `case`, on the line of `city`."""

    machine: str
    address: Address
    city: str
    due: datetime

    @property
    def case(self) -> UUID:
        return UUID(self.address.instance.split("/", 1)[0])


def never(_: Address, __: datetime) -> bool:
    """No deadline waits for this process."""
    return False


async def _logged_only(_: FailedDeadline) -> None:
    """For timers that never run."""


class Timers:
    """Wakes every machine of one service when its deadline has passed."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        held_tags: Callable[[], list[str]],
        set_aside: SetAside = _logged_only,
    ) -> None:
        self._store = store
        self._set_aside = set_aside
        self._failures: dict[FailedDeadline, int] = {}
        self._now = now
        self._held_tags = held_tags
        self._keepers: dict[str, Keeper[Any]] = {}
        self._holds: dict[str, Holds] = {}
        self._heap: list[tuple[float, int, str, Address, str, datetime]] = []
        self._due: dict[tuple[str, Address], datetime] = {}
        self._order = count()
        self._earlier = asyncio.Event()  # set when a deadline comes before all others
        self._passing: set[tuple[str, Address]] = set()

    def add_keeper(self, keeper: Keeper[Any], holds: Holds = never) -> None:
        """Serve this keeper's deadlines; those that it `holds` are looked at again after `POLL`."""
        self._keepers[keeper.machine.name] = keeper
        self._holds[keeper.machine.name] = holds

    def clear_memory(self) -> None:
        """Keep nothing in memory; the deadlines are in the store."""
        self._due.clear()
        self._heap.clear()
        for keeper in self._keepers.values():
            keeper.clear_cache()

    def note_deadline(self, keeper: Keeper[Any], address: Address, city: str, due: datetime | None) -> None:
        """Note the next deadline of an instance, or that it has none."""
        name = keeper.machine.name
        if due is None:
            self._due.pop((name, address), None)
        elif self._due.get((name, address)) != due:
            self._due[name, address] = due
            delay = max(0.0, (due - self._now()).total_seconds())
            self._push(asyncio.get_running_loop().time() + delay, name, address, city, due)

    def _push(self, at: float, name: str, address: Address, city: str, due: datetime) -> None:
        if not self._heap or at < self._heap[0][0]:
            self._earlier.set()
        heapq.heappush(self._heap, (at, next(self._order), name, address, city, due))

    async def run(self) -> None:
        """Wake what is due, for ever."""
        clock = asyncio.get_running_loop().time
        look_at = clock()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._earlier.clear()
                for name, address, city, due in self._passed(clock()):
                    self._start(tasks, name, address, city, due)
                if clock() >= look_at:
                    look_at = clock() + POLL
                    await self.find_deadlines(tasks)
                await self._rest(min(look_at, self._heap[0][0]) if self._heap else look_at)

    async def _rest(self, until: float) -> None:
        """Wait for that moment of the loop's clock, or for a deadline before all others."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._earlier.wait()

    def _passed(self, moment: float) -> list[tuple[str, Address, str, datetime]]:
        passed = []
        while self._heap and self._heap[0][0] <= moment:
            _, _, name, address, city, due = heapq.heappop(self._heap)
            if self._due.get((name, address)) == due:  # else it was moved: entries stay in the heap until they pass
                passed.append((name, address, city, due))
        return passed

    async def find_deadlines(self, tasks: asyncio.TaskGroup) -> None:
        """Look into the store once for deadlines that others, or this process before a restart, have set."""
        tags = self._held_tags()
        if not tags or not self._keepers:
            return
        keeper = next(iter(self._keepers.values()))
        until = round((self._now().timestamp() + POLL) * 1000)
        commands: list[tuple[str | int | float | bytes, ...]] = [
            ("ZRANGEBYSCORE", keeper.due_name(tag), 0, until, "WITHSCORES", "LIMIT", 0, AT_ONCE) for tag in tags
        ]
        try:
            replies = await self._store.ask_all(commands)
        except Unavailable:
            return
        for member, score in (pair for reply in replies for pair in zip(reply[::2], reply[1::2], strict=True)):
            name, home, city, instance = member.decode().split("|", 3)
            due = datetime.fromtimestamp(float(score) / 1000, UTC)
            self._schedule_found(tasks, name, Address(instance, home), city, due)

    def _schedule_found(self, tasks: asyncio.TaskGroup, name: str, address: Address, city: str, due: datetime) -> None:
        scheduled = self._due.get((name, address))
        if scheduled is not None and unix_milliseconds(scheduled) == unix_milliseconds(due):
            return
        if due <= self._now():
            self._start(tasks, name, address, city, due)
        elif scheduled is None and name in self._keepers:
            self.note_deadline(self._keepers[name], address, city, due)

    def _start(self, tasks: asyncio.TaskGroup, name: str, address: Address, city: str, due: datetime) -> None:
        if name not in self._keepers:
            return
        if (name, address) in self._passing:
            self._push(asyncio.get_running_loop().time() + AGAIN, name, address, city, due)
            return
        if self._holds[name](address, due):
            self._pass_again(self._keepers[name], address, city, due)
            return
        self._passing.add((name, address))
        tasks.create_task(self._pass_deadline(self._keepers[name], address, city, due))

    async def _pass_deadline(self, keeper: Keeper[Any], address: Address, city: str, due: datetime) -> None:
        case = UUID(address.instance.split("/", 1)[0])
        message = DeadlinePassed(case=case, city=city, instance=address.instance, home=address.home, due=due)
        name = f"{keeper.machine.name}|{address.instance}|{unix_milliseconds(due)}"
        try:
            learned = await keeper.learn(message, IdempotencyKey(uuid5(NAMES, name)))
            # A clock that was put back has set this very moment anew.
            if learned.already_applied and _stands(keeper, learned, due):
                learned = await keeper.learn(message, IdempotencyKey(uuid5(NAMES, f"{name}|{learned.version}")))
            if _stands(keeper, learned, due):
                await self._log_ignored(keeper, address, city)
            elif self._due.get((keeper.machine.name, address)) == due:  # another process had woken it before us
                del self._due[keeper.machine.name, address]
        except Unavailable:
            self._pass_again(keeper, address, city, due)
        except Exception as crash:  # noqa: BLE001 one instance's bug must not end the service for all others
            await self.note_failure(keeper, FailedDeadline(keeper.machine.name, address, city, due), crash)
        finally:
            self._passing.discard((keeper.machine.name, address))

    def _pass_again(self, keeper: Keeper[Any], address: Address, city: str, due: datetime) -> None:
        again = asyncio.get_running_loop().time() + POLL
        self._push(again, keeper.machine.name, address, city, due)

    async def note_failure(self, keeper: Keeper[Any], failed: FailedDeadline, crash: Exception) -> None:
        """Let it try again, or set it aside: it stays due, but this process wakes it no more at that moment."""
        self._due[failed.machine, failed.address] = failed.due
        self._failures[failed] = strikes = self._failures.get(failed, 0) + 1
        told = {"machine": failed.machine, "instance": failed.address.instance, "strikes": strikes}
        log.error("deadline_failed", **told, at=crash_places(crash), signal="warning")
        try:
            if strikes >= STRIKES:
                await self._set_aside(failed)
                del self._failures[failed]
                return
        except Unavailable:
            log.warning("waiting", at="deadline_failed", instance=failed.address.instance)
        self._pass_again(keeper, failed.address, failed.city, failed.due)

    async def _log_ignored(self, keeper: Keeper[Any], address: Address, city: str) -> None:
        """A machine that does not move at its own deadline is a bug: say so, and do not spin on it."""
        log.error("deadline_ignored", machine=keeper.machine.name, instance=address.instance)
        member = f"{keeper.machine.name}|{address.home}|{city}|{address.instance}"
        await self._store.ask("ZREM", keeper.due_name(shard_of(address.home)), member)


def _stands(keeper: Keeper[Any], learned: Learned[Any], due: datetime) -> bool:
    deadline = keeper.machine.deadline(learned.state)
    return deadline is not None and unix_milliseconds(deadline) == unix_milliseconds(due)
