"""What a fault has ended stays ended until it heals: a gate before each program that the supervisor starts again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from deploy.local.supervisor import Program
from deploy.local.system import Items


@dataclass
class Gates:
    """Open unless shut."""

    _open: dict[str, asyncio.Event] = field(default_factory=dict)

    def items(self, items: Items) -> Items:
        """The same programs, each behind its gate."""
        return tuple(self._gated(item) if isinstance(item, Program) else item for item in items)

    def shut(self, name: str) -> None:
        """A program of this name is not started from now on."""
        self._open[name].clear()

    def open(self, name: str) -> None:
        self._open[name].set()

    def _gated(self, program: Program) -> Program:
        gate = self._open[program.name] = asyncio.Event()
        gate.set()
        return replace(program, prepare=behind(gate, program.prepare))


def behind(gate: asyncio.Event, prepare: Callable[[], Awaitable[None]] | None) -> Callable[[], Awaitable[None]]:
    async def prepared() -> None:
        await gate.wait()
        if prepare:
            await prepare()

    return prepared
