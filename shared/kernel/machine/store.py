"""What a machine's store promises, and what is handed to it; valkey.py is the real one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from shared.kernel.errors import Unavailable


@dataclass(frozen=True)
class OutboxRow:
    """One event on its way to Kafka; an urgent one also goes to its consumers over HTTP as soon as it is committed."""

    topic: str
    key: str
    headers: dict[str, str]
    value: bytes
    urgent: bool = False

    @property
    def parts(self) -> tuple[str, str, str, bytes]:
        """As an outbox keeps it: what it names t, k, h and v."""
        return self.topic, self.key, json.dumps(self.headers), self.value

    @classmethod
    def from_fields(cls, flat: list[bytes]) -> "OutboxRow":
        """Of a row as an outbox keeps it: t, k, h and v, each name before its value."""
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
"""The store's name for its generation: the epoch of the last rebuild, 0 if there was none. A store that was emptied has
none, and one that was replaced by a copy an old one, until a process that knows better writes `lost:` or `older:` and
the Unix millisecond. Each shard has it once more, so that a commit stays within one hash slot."""

LOST = "The store has lost what it knew of this. `jingyi rebuild` brings it back from the log of record."


class FunctionsLost(Unavailable):
    """The store answers but does not know our Functions: it was emptied, or never met us."""


Command = tuple[str | int | float | bytes, ...]

Committed = Callable[[str, tuple[bytes, ...], tuple[OutboxRow, ...], bool], None]
"""Told of each shard's rows and their ids, in commit order, and whether they follow others'."""


class Store(Protocol):
    """Reads, leases and commits. Every method that waits raises Unavailable when the store does not answer in time.

    `answered_at`: the loop's time when it last took a write; `refuses`: it answered the last one with a no (full,
    read-only, forbidden). `lost_at`, in Unix milliseconds, while it lacks what was known; `epoch`, in Unix seconds,
    when it was rebuilt last.
    """

    answered_at: float
    refuses: bool
    lost_at: int | None
    epoch: int

    async def ask(self, *command: str | int | float | bytes) -> Any:
        """The reply to one command, outside the commit order."""

    async def ask_all(self, commands: list[Command]) -> list[Any]:
        """The replies to several independent commands in one round trip, outside the commit order."""

    async def write_all(self, commands: list[Command]) -> list[Any]:
        """The same for writes that must be renewed: they go in the commit order, and tell whether it takes any."""

    async def commit(self, commit: Commit) -> list[bytes]:
        """Apply it, all or nothing, after every commit handed over before it; returns after its fsync.

        `Committed` is told of its rows in that same order, before this returns. After Unavailable it may be applied.
        """

    async def run(self) -> None:
        """Carry what is asked and committed, for ever; until then nothing is answered."""

    async def load(self) -> None:
        """Bring the Functions along that `commit` calls."""

    def check_not_lost(self, instance: str) -> None:
        """Raise Unavailable if an instance that the store lacks may have lived before it was emptied. Does not wait."""
