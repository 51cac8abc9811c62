"""电话: a wire on which no machine sends: what should go out becomes a call task for a person."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from services.responder_adapter.outgoing import Outgoing
from services.responder_adapter.wires import Silence, WireContext
from shared.contract.city import PhoneWire


class Phone:
    """Says nothing itself."""

    async def send(self, outgoing: Outgoing, now: datetime) -> Silence:
        """Nothing has left: a person has to say it."""
        return Silence("by_person")


@asynccontextmanager
async def connect(desk: str, entry: PhoneWire, context: WireContext) -> AsyncIterator[Phone]:
    yield Phone()
