"""回声台: the built-in desk of every city: it accepts a drill at once and clears it, and takes part in nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from services.responder_adapter.outgoing import Outgoing
from services.responder_adapter.wires import Answer, WireContext
from shared.contract.city import EchoWire
from shared.contract.terms import Rung

NOT_A_DRILL = Answer(Rung.REJECTED, code="not_a_drill")
"""A person in danger must never be left with it."""


class Echo:
    """Answers in place of a desk."""

    async def send(self, outgoing: Outgoing, now: datetime) -> Answer:
        """Accepted and cleared in one breath, if it is a drill."""
        if not outgoing.drill:
            return NOT_A_DRILL
        cleared = Answer(Rung.CLEARED, code="drill")
        return Answer(Rung.ACCEPTED, officer="echo", event_no=f"echo-{outgoing.n}", then=cleared)


@asynccontextmanager
async def connect(desk: str, entry: EchoWire, context: WireContext) -> AsyncIterator[Echo]:
    yield Echo()
