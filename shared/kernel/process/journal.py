"""What a journal promises: what must not be lost though the store is silent; file_journal.py is the real one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from shared.kernel.errors import Unavailable


class Unwritable(Unavailable):
    """The journal could not be written: nothing was kept. Says why, and what to do."""


class Journal(Protocol):
    """The entries of one process that are not done. Every method returns at once or blocks for the disk alone."""

    @property
    def open_entries(self) -> dict[UUID, Any]:
        """What is not done by its id, in the order in which it was written. A copy."""

    @property
    def is_open(self) -> bool:
        """Whether it can be written; what an earlier process had kept has then been read."""

    def open(self) -> None:
        """Hold it for this process alone and read what is in it. Raises Unwritable; open already, it does nothing."""

    def write_entry(self, entry: UUID, what: Any) -> None:
        """Keep `what` (anything JSON holds) under this id, opening the journal if need be; on disk when this returns.

        The same id again is no news. Raises Unwritable.
        """

    def mark_done(self, entry: UUID) -> None:
        """Strike an entry, if it is there. Raises nothing; after a crash it may wait again."""

    def set_aside(self, entry: UUID, case: str) -> None:
        """Have an entry that this release cannot read wait for one that can: open no more, still written, and said."""

    def close(self) -> None:
        """Let another process have it."""


OpenJournal = Callable[[Path, Mapping[int, bytes]], Journal]
"""Makes the journal of a folder, sealed under these master keys by version; it is yet to be opened."""
