"""A simulated Valkey: the commands that the kernel sends, the Functions of functions.lua, and every way to be silent.

It stands below the product's `ValkeyStore`, at the connection: queues, pipelines, time-outs and what a refusal
means are the real ones. tests/simulation/contract holds the same expectations against a real Valkey.
"""

import asyncio
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError

from shared.kernel.machine.store import Committed, Store
from shared.kernel.machine.valkey import ValkeyStore
from tests.simulation.loop import LIFE, Life

Word = str | int | float | bytes
Place = tuple[int, int]

HIGHEST = 1 << 62
UNMOVED, MOVES = 512, 2000
EVENT = re.compile(rb'"ce_type": "cn\.jingyi\.(\w+)"')

REFUSALS: dict[str, type[ResponseError]] = {
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "NOPERM": NoPermissionError,
}
"""With which word a store answers every write that it does not take, and what redis-py makes of it."""

FREE = frozenset({"del", "expire", "persist", "hdel", "zrem", "xdel"})
"""Writes that need no memory: a full store takes them."""

WRITES = FREE | {"fcall", "function", "set", "hset", "zadd", "xadd"}

OUTSIDE = Context()
"""The context of what belongs to no life."""


def _bytes(word: Word) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


@dataclass
class Stream:
    """Entries by their place, oldest first."""

    places: list[Place] = field(default_factory=list)
    entries: dict[Place, list[bytes]] = field(default_factory=dict)

    def add(self, milliseconds: int, fields: list[bytes]) -> bytes:
        last = self.places[-1] if self.places else (0, -1)
        place = (milliseconds, 0) if milliseconds > last[0] else (last[0], last[1] + 1)
        self.places.append(place)
        self.entries[place] = fields
        return b"%d-%d" % place

    def between(self, first: Place, last: Place, count: int) -> list[Any]:
        """Both ends included."""
        within = self.places[bisect_left(self.places, first) : bisect_right(self.places, last)]
        live = (place for place in within if place in self.entries)
        return [[b"%d-%d" % place, self.entries[place]] for place, _ in zip(live, range(count), strict=False)]


class Valkey:
    """The server: its data outlives its outages. `now` is its own wall clock, in seconds.

    While `refuses` is one of the REFUSALS it takes no write, and can be read.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.data: dict[bytes, Any] = {}
        self._expires: dict[bytes, float] = {}
        self._functions = False
        self.refuses = ""

    def execute(self, command: tuple[Word, ...]) -> Any:
        """The reply to one command; a ResponseError is a reply too."""
        name = str(command[0]).lower()
        if self.refuses and name in WRITES and not (self.refuses == "OOM" and name in FREE):
            return REFUSALS[self.refuses]("no write is taken now", status_code=self.refuses)
        try:
            return getattr(self, f"_{name}")(*map(_bytes, command[1:]))
        except ResponseError as refusal:
            return refusal

    def _kept(self, key: bytes) -> Any:
        if key in self._expires and self._expires[key] <= self._now():
            self._del(key)
        return self.data.get(key)

    def _function(self, what: bytes, *_: bytes) -> bytes:
        self._functions = what == b"LOAD"
        return b"jingyi" if self._functions else b"OK"

    def _config(self, _: bytes, *names: bytes) -> list[bytes]:
        safe = {
            b"appendonly": b"yes",
            b"appendfsync": b"always",
            b"no-appendfsync-on-rewrite": b"no",
            b"maxmemory-policy": b"noeviction",
        }
        return [word for name in names for word in (name, safe[name])]

    def _info(self, *_: bytes) -> bytes:
        return b"used_memory:1\r\nmaxmemory:0\r\ntotal_system_memory:100\r\n"

    def _scan(self, _: bytes, *more: bytes) -> list[Any]:
        """All at once, as the real one may."""
        fits = more[more.index(b"MATCH") + 1].decode() if b"MATCH" in more else "*"
        return [b"0", [key for key in self.data if fnmatchcase(key.decode(), fits)]]

    def _ping(self) -> bytes:
        return b"PONG"

    def _time(self) -> list[bytes]:
        seconds, rest = divmod(self._now(), 1)
        return [b"%d" % seconds, b"%d" % (rest * 1_000_000)]

    def _get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._kept(key)
        return value

    def _set(self, key: bytes, value: bytes, *px: bytes) -> bytes | None:
        if px == (b"NX",):
            return None if key in self.data else self._set(key, value)
        self.data[key] = value
        self._expires.pop(key, None)
        if px:
            self._expires[key] = self._now() + int(px[1]) / 1000
        return b"OK"

    def _del(self, *keys: bytes) -> int:
        for key in keys:
            self._expires.pop(key, None)
        return sum(self.data.pop(key, None) is not None for key in keys)

    def _expire(self, key: bytes, seconds: bytes) -> int:
        if key in self.data:
            self._expires[key] = self._now() + int(seconds)
        return int(key in self.data)

    def _persist(self, key: bytes) -> int:
        return int(self._expires.pop(key, None) is not None)

    def _ttl(self, key: bytes) -> int:
        if self._kept(key) is None:
            return -2
        return round(self._expires[key] - self._now()) if key in self._expires else -1

    def _incr(self, key: bytes) -> int:
        self.data[key] = b"%d" % (int(self.data.get(key, b"0")) + 1)
        return int(self.data[key])

    def _exists(self, *keys: bytes) -> int:
        return sum(self._kept(key) is not None for key in keys)

    def _hset(self, key: bytes, *pairs: bytes) -> int:
        kept = self.data.setdefault(key, {})
        before = len(kept)
        kept.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(kept) - before

    def _hget(self, key: bytes, name: bytes) -> bytes | None:
        value: bytes | None = (self._kept(key) or {}).get(name)
        return value

    def _hmget(self, key: bytes, *names: bytes) -> list[bytes | None]:
        kept = self._kept(key) or {}
        return [kept.get(name) for name in names]

    def _hgetall(self, key: bytes) -> list[bytes]:
        return [word for pair in (self._kept(key) or {}).items() for word in pair]

    def _hdel(self, key: bytes, *names: bytes) -> int:
        kept = self._kept(key) or {}
        return sum(kept.pop(name, None) is not None for name in names)

    def _zadd(self, key: bytes, *words: bytes) -> int:
        kept = self.data.setdefault(key, {})
        only_new = words[0] == b"NX"
        score, member = words[-2:]
        if only_new and member in kept:
            return 0
        new = member not in kept
        kept[member] = float(score)
        return int(new)

    def _zrem(self, key: bytes, *members: bytes) -> int:
        kept = self._kept(key) or {}
        return sum(kept.pop(member, None) is not None for member in members)

    def _zcard(self, key: bytes) -> int:
        return len(self._kept(key) or {})

    def _ranked(self, key: bytes) -> list[tuple[bytes, float]]:
        return sorted((self._kept(key) or {}).items(), key=lambda pair: (pair[1], pair[0]))

    def _zrange(self, key: bytes, first: bytes, last: bytes, *more: bytes) -> list[bytes]:
        end = int(last) + 1 or None
        return _flat(self._ranked(key)[int(first) : end], b"WITHSCORES" in more)

    def _zrangebyscore(self, key: bytes, low: bytes, high: bytes, *more: bytes) -> list[bytes]:
        within = [(member, score) for member, score in self._ranked(key) if float(low) <= score <= float(high)]
        if b"LIMIT" in more:
            at = more.index(b"LIMIT")
            within = within[int(more[at + 1]) :][: int(more[at + 2])]
        return _flat(within, b"WITHSCORES" in more)

    def _xadd(self, key: bytes, _: bytes, *fields: bytes) -> bytes:
        stream: Stream = self.data.setdefault(key, Stream())
        return stream.add(int(self._now() * 1000), list(fields))

    def _xrange(self, key: bytes, first: bytes, last: bytes, *more: bytes) -> list[Any]:
        stream: Stream = self.data.get(key) or Stream()
        return stream.between(_bound(first, 0, 1), _bound(last, HIGHEST, -1), int(more[1]) if more else HIGHEST)

    def _xlen(self, key: bytes) -> int:
        return len((self.data.get(key) or Stream()).entries)

    def _xdel(self, key: bytes, *ids: bytes) -> int:
        stream: Stream = self.data.get(key) or Stream()
        gone = sum(stream.entries.pop(_place(entry), None) is not None for entry in ids)
        if not stream.entries:
            stream.places = stream.places[-1:]  # the last id is remembered, as the real one does
        return gone

    def _fcall(self, name: bytes, count: bytes, *words: bytes) -> Any:
        if not self._functions:
            raise ResponseError("ERR Function not found")
        keys, args = words[: int(count)], words[int(count) :]
        called = {b"learn_2": self.learn_function, b"lease_2": self._lease, b"restore_2": self._restore}[name]
        return called(keys, args)

    def learn_function(self, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> list[bytes]:
        """As functions.lua has it."""
        cause, moves = b"i:" + args[1], b"a:" + args[10]
        version, state, drill, known, moved = self._hmget(keys[0], b"v", b"s", b"d", cause, moves)
        now = version or b"0"
        if known is not None:
            return [b"KNOWN", now, state or b"", drill or b"", known]
        if _lost(args[5].decode(), now, self._get(keys[5])):
            return [b"LOST"]
        if now != args[0]:
            return [b"STALE", now, state or b"", drill or b""]
        if not args[3]:
            self._remember_unmoved(keys[0], cause, args[2])
            return [b"OK"]
        if args[10] and int(moved or 0) >= MOVES:
            return [b"MANY"]
        if args[9]:
            if self._get(keys[4]) not in {None, args[9]}:
                return [b"KEY"]
            self._set(keys[4], args[9])
        self._hset(keys[0], b"v", b"%d" % (int(now) + 1), b"s", args[3], b"d", args[4], cause, args[2])
        if args[10]:
            self._hset(keys[0], moves, b"%d" % (int(moved or 0) + 1))
        if args[4] == b"1":
            self._expire_drill(keys[0], args[7])
            self._expire(keys[4], b"86400")
        self._note_times(keys, args)
        rows = (args[at : at + 4] for at in range(11, len(args), 4))
        return [b"OK", *(self._xadd(keys[1], b"*", b"t", t, b"k", k, b"h", h, b"v", v) for t, k, h, v in rows)]

    def _note_times(self, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> None:
        if args[7]:
            self._zadd(keys[2], args[7], args[6])
        else:
            self._zrem(keys[2], args[6])
        if args[8]:
            self._zadd(keys[3], b"NX", args[8], args[5])
        else:
            self._zrem(keys[3], args[5])

    def _expire_drill(self, key: bytes, due: bytes) -> None:
        if due:
            self._persist(key)
        else:
            self._expire(key, b"86400")

    def _remember_unmoved(self, key: bytes, cause: bytes, fingerprint: bytes) -> None:
        count = int(self._hget(key, b"q") or 0) + 1
        place = b"q:%d" % (count % UNMOVED)
        self._hdel(key, self._hget(key, place) or b"")
        self._hset(key, b"q", b"%d" % count, cause, fingerprint, place, cause)

    def _lease(self, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> int:
        holder = self._get(keys[0])
        earlier = holder is not None and args[2:] == (holder[:-13],) and holder[-13:-12] == b"-"
        if holder not in {None, args[0]} and not earlier:
            return 0
        self._set(keys[0], args[0], b"PX", args[1])
        return 1

    def _restore(self, keys: tuple[bytes, ...], args: tuple[bytes, ...]) -> int:
        if self._exists(keys[0]):
            return 0
        self._hset(keys[0], b"v", args[0], b"s", args[1], b"d", args[2])
        for cause in args[8:]:
            self._hset(keys[0], b"i:" + cause, args[7])
        if args[2] == b"1":
            self._expire_drill(keys[0], args[5])
        if args[5]:
            self._zadd(keys[1], args[5], args[4])
        if args[6]:
            self._zadd(keys[2], args[6], args[3])
        return 1


def _lost(instance: str, version: bytes, generation: bytes | None) -> bool:
    """Whether an instance may be more than is kept of it."""
    if generation is None:
        return version == b"0"
    kind, _, since = generation.partition(b":")
    if not since or (kind == b"lost" and version != b"0") or instance[14:15] != "7":
        return False
    return int(instance[:8] + instance[9:13], 16) <= int(since)


def _flat(pairs: Iterable[tuple[bytes, float]], scores: bool) -> list[bytes]:
    return [word for member, score in pairs for word in ((member, b"%d" % score) if scores else (member,))]


def _place(entry: bytes, number: int = 0) -> Place:
    milliseconds, _, given = entry.partition(b"-")
    return int(milliseconds), int(given or number)


def _bound(said: bytes, number: int, inwards: int) -> Place:
    """One end of a range: `-`, `+`, an id, its milliseconds alone (`number` stands for the rest), `(` leaves it out."""
    if said in {b"-", b"+"}:
        return (0, 0) if said == b"-" else (HIGHEST, HIGHEST)
    milliseconds, at = _place(said.removeprefix(b"("), number)
    return (milliseconds, at + inwards) if said.startswith(b"(") else (milliseconds, at)


@dataclass
class Way:
    """How the way between the services and a server is now.

    `down`: connections are refused and those there were are cut. `silent`: it takes what is sent, and answers and does
    nothing until it wakes (SIGSTOP). `slow`: seconds added each way. `lost`: share of requests whose reply is lost
    after they were applied; `cut`: share of requests before which the connection breaks.
    """

    random: Random
    down: bool = False
    silent: bool = False
    slow: float = 0.0
    lost: float = 0.0
    cut: float = 0.0

    def delay(self) -> float:
        return 0.0002 + self.random.random() * 0.002 + self.slow


class Line:
    """One connection to the simulated server, as far as `_Pipeline` uses a redis connection."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._life = LIFE.get()
        self._replies: deque[Any] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._last = 0.0
        self.broken = False

    async def connect(self) -> None:
        """Raises what redis raises when nobody listens."""
        await asyncio.sleep(self._server.way.delay())
        if self._server.way.down:
            raise ConnectionLost("refused")
        while self._server.way.silent:
            await asyncio.sleep(0.5)
        self._server.lines.append(self)

    def pack_commands(self, commands: list[tuple[Word, ...]]) -> list[tuple[Word, ...]]:
        return commands

    async def send_packed_command(self, commands: list[tuple[Word, ...]], check_health: bool) -> None:
        """Put them on the wire; they are applied together a little later."""
        if self.broken:
            raise ConnectionLost("cut")
        way, loop = self._server.way, asyncio.get_running_loop()
        if way.cut and way.random.random() < way.cut:
            self.cut()
            return
        self._last = max(self._last, loop.time() + way.delay())
        self._server.later(self._last, lambda: self._arrive(commands))

    def _arrive(self, commands: list[tuple[Word, ...]]) -> None:
        way = self._server.way
        if way.silent:
            self._server.asleep.append(lambda: self._arrive(commands))
            return
        if way.down or (self.broken and way.random.random() < 0.5):
            return
        replies = [self._server.valkey.execute(command) for command in commands]
        for command, reply in zip(commands, replies, strict=True):
            if command[:2] == ("FCALL", "learn_2") and isinstance(reply, list) and reply[0] == b"OK" and self._life:
                self._server.committed(self._life, EVENT.findall(b"".join(map(_bytes, command))))
        if way.lost and way.random.random() < way.lost:
            self.cut()
        if not self.broken:
            self._replies.extend(replies)
            self._wake()

    async def read_response(self) -> Any:
        """The next reply."""
        while not self._replies:
            if self.broken:
                raise ConnectionLost("cut")
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        reply = self._replies.popleft()
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def disconnect(self, nowait: bool) -> None:
        self.cut()

    def cut(self) -> None:
        """The connection is no more, at both ends."""
        self.broken = True
        self._replies.clear()
        if self in self._server.lines:
            self._server.lines.remove(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


@dataclass(eq=False)
class Server:
    """The simulated Valkey with the way to it."""

    valkey: Valkey
    way: Way
    loop: asyncio.AbstractEventLoop
    committed: Callable[[Life, list[bytes]], None]
    lines: list[Line] = field(default_factory=list)
    asleep: list[Callable[[], None]] = field(default_factory=list)

    def make_connection(self) -> Line:
        """As a connection pool makes one."""
        return Line(self)

    def store(self, _: str, committed: Committed) -> Store:
        """The product's own ValkeyStore, on lines to this server."""
        return ValkeyStore("redis://simulated/0", committed, self)

    def later(self, at: float, do: Callable[[], None]) -> None:
        """Have it done by the server, whatever becomes of who asked."""
        self.loop.call_at(at, do, context=OUTSIDE)

    def stop(self) -> None:
        """kill -9: connections break, what was fsynced stays."""
        self.way.down = True
        for line in list(self.lines):
            line.cut()

    def start(self) -> None:
        """It listens again, with its data."""
        self.way.down = False

    def freeze(self) -> None:
        """SIGSTOP."""
        self.way.silent = True

    def thaw(self) -> None:
        """SIGCONT: it does what it was sent meanwhile."""
        self.way.silent = False
        asleep, self.asleep = self.asleep, []
        for do in asleep:
            do()
