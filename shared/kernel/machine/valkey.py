"""The store on Valkey: one queued, pipelined connection, so that replies come in commit order and fsyncs group."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol
from uuid import UUID

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterCrossSlotError, MasterDownError, ReadOnlyError, RedisError, ResponseError

from shared.kernel.errors import Unavailable
from shared.kernel.machine.store import LOST, Command, Commit, Committed, FunctionsLost

ANSWER_WITHIN = 3.0
"""Seconds after which a silent store counts as unavailable."""

OUR_BUGS = re.compile(
    r"^WRONGTYPE|^@?user_function:|wrong number of arg|syntax error|not an integer|not a valid float", re.IGNORECASE
)
"""What the store says when we asked it nonsense; whatever else it refuses, it may take later."""

NoteBatch = Callable[[bool], None]
"""Told after each batch that was answered whether the store refused any of it."""


class ConnectionSource(Protocol):
    """Where connections come from: redis-py's pool, or the simulator's server."""

    def make_connection(self) -> Any:
        """A connection that is yet to be opened."""


@dataclass(frozen=True, eq=False)
class _PendingCommands:
    """Commands whose replies somebody waits for, and what to do with them in reply order."""

    commands: list[Command]
    replies: "asyncio.Future[list[Any]]"
    on_replies: Callable[[list[Any]], None] = lambda _: None


class _Pipeline:
    """One connection's queue: whole pipelines at a time. The library's own pipeline costs twice as much per command."""

    def __init__(self, source: ConnectionSource) -> None:
        self._source = source
        self._connection: AbstractConnection | None = None
        self._queue: asyncio.Queue[_PendingCommands] = asyncio.Queue()

    async def ask(self, commands: list[Command], on_replies: Callable[[list[Any]], None] = lambda _: None) -> list[Any]:
        """The replies to these commands, in their order; a refused command raises what the refusal means."""
        pending = _PendingCommands(commands, asyncio.get_running_loop().create_future(), on_replies)
        self._queue.put_nowait(pending)
        return await pending.replies

    async def run(self, on_answer: NoteBatch = lambda _: None) -> None:
        """Send what is queued, for ever."""
        try:
            while True:
                batch = [await self._queue.get()]
                while not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                await self._serve(batch, on_answer)
        finally:
            await self._hang_up()

    async def _serve(self, batch: list[_PendingCommands], on_answer: NoteBatch) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                answered = await self._exchange([command for pending in batch for command in pending.commands])
        except (RedisError, TimeoutError, OSError) as silence:
            await self._hang_up()  # else a late reply would be taken for that of the next command
            _fail(batch, Unavailable(f"The store does not answer: {type(silence).__name__}."))
        else:
            if any(isinstance(reply, ReadOnlyError | MasterDownError) for reply in answered):
                await self._hang_up()  # at that address another may be the primary by now
            on_answer(
                any(isinstance(reply, RedisError) and type(_error_for(reply)) is Unavailable for reply in answered)
            )
            replies = iter(answered)
            for pending in batch:
                _settle(pending, [next(replies) for _ in pending.commands])

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        if self._connection is None:
            self._connection = self._source.make_connection()
            await self._connection.connect()
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)
        return [await self._reply(self._connection) for _ in commands]

    async def _reply(self, connection: AbstractConnection) -> Any:
        try:
            return await connection.read_response()
        except ResponseError as refusal:
            return refusal  # one command's, not the connection's

    async def _hang_up(self) -> None:
        lost, self._connection = self._connection, None
        if lost is not None:
            await lost.disconnect(nowait=True)


class ValkeyStore:
    """A store at a Redis URL, `committed` being told of its commits; over the connections of `source`, if given."""

    def __init__(self, url: str, committed: Committed, source: ConnectionSource | None = None) -> None:
        # Nothing is retried below us: whether a command was applied is for `learn` to find out.
        source = source or ConnectionPool.from_url(
            url, socket_connect_timeout=1.0, socket_timeout=None, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self._committed = committed
        self._commits = _Pipeline(source)
        self._reads = _Pipeline(source)
        self._functions = files("shared.kernel.machine").joinpath("functions.lua").read_text()
        self.answered_at = 0.0
        self.refuses = False
        self.lost_at: int | None = None
        self.epoch = 0

    async def ask(self, *command: str | int | float | bytes) -> Any:
        [reply] = await self.ask_all([command])
        return reply

    async def ask_all(self, commands: list[Command]) -> list[Any]:
        return await self._reads.ask(commands)

    async def write_all(self, commands: list[Command]) -> list[Any]:
        return await self._commits.ask(commands)

    async def commit(self, commit: Commit) -> list[bytes]:
        # While replies are read, not after the await: two commits must reach the relay in the store's order.
        def on_replies(replies: list[Any]) -> None:
            if replies[0][0] == b"OK":
                self._committed(commit.tag, tuple(replies[0][1:]), commit.rows, commit.follows_others)

        command: Command = ("FCALL", "learn_2", len(commit.keys), *commit.keys, *commit.args)
        try:
            [reply] = await self._commits.ask([command], on_replies)
        except FunctionsLost:
            await self.ask("FUNCTION", "LOAD", "REPLACE", self._functions)
            raise
        if reply[0] == b"LOST":
            raise Unavailable(LOST)
        return list(reply)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._commits.run(self._note_writes))
            lanes.create_task(self._reads.run())

    def _note_writes(self, refused: bool) -> None:
        self.refuses = refused
        if not refused:
            self.answered_at = asyncio.get_running_loop().time()

    async def load(self) -> None:
        await self.ask("FUNCTION", "LOAD", "REPLACE", self._functions)

    def check_not_lost(self, instance: str) -> None:
        if self.lost_at is not None:
            case = UUID(instance[:36])
            if case.version == 7 and case.int >> 80 <= self.lost_at:
                raise Unavailable(LOST)


def _settle(pending: _PendingCommands, replies: list[Any]) -> None:
    refusal = next((reply for reply in replies if isinstance(reply, RedisError)), None)
    if refusal is not None:
        _fail([pending], _error_for(refusal))
        return
    pending.on_replies(replies)
    if not pending.replies.done():
        pending.replies.set_result(replies)


def _fail(batch: list[_PendingCommands], failure: Exception) -> None:
    for pending in batch:
        if not pending.replies.done():
            pending.replies.set_exception(failure)


def _error_for(refusal: RedisError) -> Exception:
    """What a refused command means: functions to load again, a bug of ours, or a store that takes nothing now."""
    text = str(refusal)
    if "Function not found" in text:
        return FunctionsLost("The store had lost its functions; they are loaded again.")
    if isinstance(refusal, ClusterCrossSlotError) or (type(refusal) is ResponseError and OUR_BUGS.search(text)):
        return refusal
    code = getattr(refusal, "status_code", None) or text.split(" ", 1)[0]
    return Unavailable(f"The store refuses: {code}.")
