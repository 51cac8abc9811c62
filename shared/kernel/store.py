"""The accept journal: one queued, pipelined connection, so that replies come in commit order and fsyncs group."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from shared.kernel.errors import Unavailable

ANSWER_WITHIN = 3.0
"""Seconds after which a silent store counts as unavailable (design figure: intake rings after 3 s)."""


@dataclass(frozen=True)
class Row:
    """One event on its way to Kafka. `headers` is JSON of the header pairs."""

    topic: str
    key: str
    headers: str
    value: bytes


@dataclass(frozen=True, eq=False)
class Commit:
    """One call of the Function `learn`, and what becomes of its rows once the store has them."""

    tag: str
    keys: tuple[str, ...]
    args: tuple[str | int | bytes, ...]
    rows: tuple[Row, ...]
    reply: "asyncio.Future[list[bytes]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Committed = Callable[[str, tuple[bytes, ...], tuple[Row, ...]], None]
"""Told of each shard's rows and their ids, in commit order."""


def connect(url: str) -> "Redis":
    """A client that fails within seconds and never retries by itself: the outcome of a lost reply is ours to ask."""
    return Redis.from_url(
        url,
        socket_connect_timeout=1.0,
        socket_timeout=ANSWER_WITHIN,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


class Store:
    """Reads, leases and commits. Every method raises Unavailable when the store does not answer."""

    def __init__(self, redis: "Redis", committed: Committed) -> None:
        self._redis = redis
        self._committed = committed
        self._queue: asyncio.Queue[Commit] = asyncio.Queue()
        self._source = files("shared.kernel").joinpath("functions.lua").read_text()
        self.answered_at = 0.0

    async def ask(self, *command: str | int | float | bytes) -> Any:
        """One command outside the commit order."""
        [reply] = await self.ask_all([command])
        return reply

    async def ask_all(self, commands: list[tuple[str | int | float | bytes, ...]]) -> list[Any]:
        """Several independent commands in one round trip."""
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        replies = await self._execute(pipe)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise await self._unusable(reply)
        return replies

    async def commit(self, commit: Commit) -> list[bytes]:
        """Have it applied after everything queued before it; the reply comes after its fsync."""
        self._queue.put_nowait(commit)
        return await commit.reply

    async def run(self) -> None:
        """Send what is queued, whole pipelines at a time, for ever."""
        while True:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._send(batch)

    async def _send(self, batch: list[Commit]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        for commit in batch:
            pipe.execute_command("FCALL", "learn", len(commit.keys), *commit.keys, *commit.args)
        try:
            replies = await self._execute(pipe)
        except Unavailable as silence:
            replies = [silence] * len(batch)
        for commit, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                failure = await self._unusable(reply) if isinstance(reply, RedisError) else reply
                if not commit.reply.done():
                    commit.reply.set_exception(failure)
                continue
            if reply[0] == b"OK":
                self._committed(commit.tag, tuple(reply[1:]), commit.rows)
            if not commit.reply.done():
                commit.reply.set_result(reply)

    async def _execute(self, pipe: Any) -> list[Any]:
        try:
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        except (Disconnected, TimedOut, OSError) as silence:
            raise Unavailable(f"The store does not answer: {type(silence).__name__}.") from silence
        self.answered_at = asyncio.get_running_loop().time()
        return replies

    async def _unusable(self, reply: RedisError) -> Exception:
        """What a refused command means: functions not loaded yet, a store that cannot write now, or a bug of ours."""
        if isinstance(reply, ResponseError) and "Function not found" in str(reply):
            await self.load()
            return Unavailable("The store had lost its functions; they are loaded again.")
        if isinstance(reply, ResponseError) and str(reply).startswith(("ERR", "WRONGTYPE", "NOPERM")):
            return reply
        return Unavailable(f"The store refuses: {reply}")

    async def load(self) -> None:
        """Load the Functions; they live in the store's own log and replicate."""
        try:
            await self._redis.function_load(self._source, replace=True)
        except (RedisError, OSError) as silence:
            raise Unavailable(f"The store does not take its functions: {silence}") from silence
