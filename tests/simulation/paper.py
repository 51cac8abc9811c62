"""The journal of one machine as the simulator has it: what was written outlives every process, at once."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(eq=False)
class Paper:
    """What shared.kernel.process.journal.Journal promises, without a disk."""

    written: dict[UUID, Any]
    usable: bool = False

    @property
    def waiting(self) -> dict[UUID, Any]:
        return dict(self.written)

    def open(self) -> None:
        self.usable = True

    def keep(self, entry: UUID, what: Any) -> None:
        self.open()
        self.written.setdefault(entry, what)

    def done(self, entry: UUID) -> None:
        self.written.pop(entry, None)

    def close(self) -> None:
        self.usable = False
