"""The journal of one machine as the simulator has it: what was written outlives every process, at once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(eq=False)
class Paper:
    """What shared.kernel.process.journal.Journal promises, without a disk."""

    written: dict[UUID, Any]
    is_open: bool = False

    @property
    def open_entries(self) -> dict[UUID, Any]:
        return dict(self.written)

    def open(self) -> None:
        self.is_open = True

    def write_entry(self, entry: UUID, what: Any) -> None:
        self.open()
        self.written.setdefault(entry, what)

    def mark_done(self, entry: UUID) -> None:
        self.written.pop(entry, None)

    def set_aside(self, entry: UUID, case: str) -> None:
        raise NotImplementedError  # one release writes and reads

    def close(self) -> None:
        self.is_open = False
