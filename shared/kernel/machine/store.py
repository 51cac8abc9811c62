"""The accept journal: one queued, pipelined connection, so that replies come in commit order and fsyncs group."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from uuid import UUID

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from shared.kernel.errors import Unavailable

ANSWER_WITHIN = 3.0
"""Seconds after which a silent store counts as unavailable."""


@dataclass(frozen=True)
class OutboxRow:
    """One event on its way to Kafka; an urgent one is also told to its hearers as soon as it is committed."""

    topic: str
    key: str
    headers: dict[str, str]
    value: bytes
    urgent: bool = False

    @classmethod
    def read(cls, flat: list[bytes]) -> "OutboxRow":
        """A row as an outbox keeps it: t, k, h and v, each name before its value."""
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return cls(fields[b"t"].decode(), fields[b"k"].decode(), json.loads(fields[b"h"]), fields[b"v"])


@dataclass(frozen=True, eq=False)
class Commit:
    """One call of the Function `learn`, and the rows that are to go out once the store has them.

    `follows_others`: it moves what another process, or a commit whose reply was lost, had moved last.
    """

    tag: str
    keys: tuple[str, ...]
    args: tuple[str | int | bytes, ...]
    rows: tuple[OutboxRow, ...]
    follows_others: bool = False


GENERATION = "generation"
"""The store's name for which life of it this is: the epoch of the last rebuild, 0 if there was none. A store that was
emptied has none, until somebody who had known one says `lost:` and since which Unix millisecond."""

LOST = "The store has lost what it knew of this. `jingyi rebuild` brings it back from the log of record."


class FunctionsLost(Unavailable):
    """The store answers but does not know our Functions: it was emptied, or never met us."""


Command = tuple[str | int | float | bytes, ...]

Committed = Callable[[str, tuple[bytes, ...], tuple[OutboxRow, ...], bool], None]
"""Told of each shard's rows and their ids, in commit order, and whether they follow others'."""


@dataclass(frozen=True, eq=False)
class _PendingCommands:
    """Commands whose replies somebody waits for, and what to do with them in reply order."""

    commands: list[Command]
    replies: "asyncio.Future[list[Any]]"
    answered: Callable[[list[Any]], None] = lambda _: None


class _Pipeline:
    """One connection's queue: whole pipelines at a time. The library's own pipeline costs twice as much per command."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection: AbstractConnection | None = None
        self._queue: asyncio.Queue[_PendingCommands] = asyncio.Queue()

    async def ask(self, commands: list[Command], answered: Callable[[list[Any]], None] = lambda _: None) -> list[Any]:
        """The replies to these commands, in their order; a refused command raises what the refusal means."""
        asked = _PendingCommands(commands, asyncio.get_running_loop().create_future(), answered)
        self._queue.put_nowait(asked)
        return await asked.replies

    async def run(self, told: Callable[[], None]) -> None:
        """Send what is queued for ever; `told` hears of every answer."""
        try:
            while True:
                batch = [await self._queue.get()]
                while not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                await self._serve(batch, told)
        finally:
            await self._hang_up()

    async def _serve(self, batch: list[_PendingCommands], told: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                replies = iter(await self._exchange([command for asked in batch for command in asked.commands]))
        except (RedisError, TimeoutError, OSError) as silence:
            await self._hang_up()
            _fail(batch, Unavailable(f"The store does not answer: {type(silence).__name__}."))
        else:
            told()
            for asked in batch:
                _settle(asked, [next(replies) for _ in asked.commands])

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        if self._connection is None:
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await self._connection.connect()
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)
        return [await self._reply(self._connection) for _ in commands]

    async def _reply(self, connection: AbstractConnection) -> Any:
        try:
            return await connection.read_response()
        except ResponseError as refusal:
            return refusal

    async def _hang_up(self) -> None:
        lost, self._connection = self._connection, None
        if lost is not None:
            await lost.disconnect(nowait=True)


class Store:
    """Reads, leases and commits. Every method raises Unavailable when the store does not answer.

    `lost_at`, in Unix milliseconds, while it lacks what was known; `epoch`, in Unix seconds, when it was rebuilt last.
    """

    def __init__(self, url: str, committed: Committed) -> None:
        pool = ConnectionPool.from_url(
            url, socket_connect_timeout=1.0, socket_timeout=None, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self._committed = committed
        self._commits = _Pipeline(pool)
        self._reads = _Pipeline(pool)
        self._source = files("shared.kernel.machine").joinpath("functions.lua").read_text()
        self.answered_at = 0.0
        self.lost_at: int | None = None
        self.epoch = 0

    async def ask(self, *command: str | int | float | bytes) -> Any:
        """One command outside the commit order."""
        [reply] = await self.ask_all([command])
        return reply

    async def ask_all(self, commands: list[Command]) -> list[Any]:
        """Several independent commands in one round trip, outside the commit order."""
        return await self._reads.ask(commands)

    async def commit(self, commit: Commit) -> list[bytes]:
        """Have it applied after everything queued before it; the reply comes after its fsync."""

        def answered(replies: list[Any]) -> None:
            if replies[0][0] == b"OK":
                self._committed(commit.tag, tuple(replies[0][1:]), commit.rows, commit.follows_others)

        command: Command = ("FCALL", "learn", len(commit.keys), *commit.keys, *commit.args)
        try:
            [reply] = await self._commits.ask([command], answered)
        except FunctionsLost:
            await self.ask("FUNCTION", "LOAD", "REPLACE", self._source)
            raise
        if reply[0] == b"LOST":
            raise Unavailable(LOST)
        return list(reply)

    async def run(self) -> None:
        """Send what is queued, for ever."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._commits.run(self._heard))
            lanes.create_task(self._reads.run(self._heard))

    def _heard(self) -> None:
        self.answered_at = asyncio.get_running_loop().time()

    async def load(self) -> None:
        """Load the Functions, which live in the store's own log and replicate; one that was never used begins."""
        await self.ask_all([("FUNCTION", "LOAD", "REPLACE", self._source), ("SET", GENERATION, 0, "NX")])

    def vouch(self, instance: str) -> None:
        """Raises Unavailable if an instance of which the store knows nothing may have lived before it was emptied."""
        if self.lost_at is not None:
            case = UUID(instance[:36])
            if case.version == 7 and case.int >> 80 <= self.lost_at:
                raise Unavailable(LOST)


def _settle(asked: _PendingCommands, replies: list[Any]) -> None:
    refusal = next((reply for reply in replies if isinstance(reply, RedisError)), None)
    if refusal is not None:
        _fail([asked], _meaning(refusal))
        return
    asked.answered(replies)
    if not asked.replies.done():
        asked.replies.set_result(replies)


def _fail(batch: list[_PendingCommands], failure: Exception) -> None:
    for asked in batch:
        if not asked.replies.done():
            asked.replies.set_exception(failure)


def _meaning(refusal: RedisError) -> Exception:
    """What a refused command means: functions to load again, a store that cannot write now, or a bug of ours."""
    said = str(refusal)
    if isinstance(refusal, ResponseError) and "Function not found" in said:
        return FunctionsLost("The store had lost its functions; they are loaded again.")
    if isinstance(refusal, ResponseError) and not said.startswith(("MISCONF", "OOM", "LOADING", "READONLY", "BUSY")):
        return refusal
    return Unavailable(f"The store refuses: {said.split(' ', 1)[0]}.")
