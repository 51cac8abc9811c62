"""The port to the desks: one module for each kind of wire. A wire says once what it is given; it never tries again."""

import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from services.responder_adapter.outgoing import Outgoing
from shared.contract.city import WireEntry
from shared.contract.terms import Rung
from shared.kernel.process.platform import Transport

MOST_AT_ONCE = 20
"""Attempts under way to one desk; a wire that pools connections has one for each."""


@dataclass(frozen=True)
class Answer:
    """A desk's definite word: delivered, accepted, rejected or cancelled; `then` is what it says in the same breath."""

    rung: Rung
    officer: str | None = None
    event_no: str | None = None
    code: str | None = None
    then: "Answer | None" = None


@dataclass(frozen=True)
class Silence:
    """Nothing definite. `reason` is of a closed list; the same key must be sent again."""

    reason: str


class Wire(Protocol):
    """The way to one desk."""

    async def send(self, outgoing: Outgoing, now: datetime) -> Answer | Silence:
        """Say it once, in 3.5 s at the most. Never raises for what a desk or a network does."""
        ...


@dataclass(frozen=True)
class WireContext:
    """What a wire may use of the process it runs in."""

    environment: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext
    transport: Transport


class WireModule(Protocol):
    """What every module in here has; `entry` is of the model in the city pack whose `kind` is the module's name."""

    def connect(self, desk: str, entry: Any, context: WireContext) -> AbstractAsyncContextManager[Wire]:
        """The wire to `desk`, for as long as the context lasts."""
        ...


def connect_wire(desk: str, entry: WireEntry, context: WireContext) -> AbstractAsyncContextManager[Wire]:
    """The desk's wire, by the module that is named like its kind."""
    module: WireModule = import_module(f"{__name__}.{entry.kind}")
    return module.connect(desk, entry, context)
