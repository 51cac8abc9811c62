"""回声台: the built-in desk of every city: it accepts a drill at once and clears it, and takes part in nothing else."""

import asyncio

from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan

from services.responder_adapter.sender import Attempt, Sender
from services.responder_adapter.state import CallOut
from services.responder_adapter.wires import Answer
from shared.contract.terms import Rung


def echo_answers(callout: CallOut, *, drill: bool) -> tuple[Answer, ...]:
    """What the echo desk says to an order, in its order. A person in danger must never be left with it."""
    if not drill:
        return (Answer(Rung.REJECTED, code="not_a_drill"),)
    accepted = Answer(Rung.ACCEPTED, officer="echo", event_no=f"echo-{callout.n}")
    return accepted, Answer(Rung.CLEARED, code="drill")


async def run(sender: Sender, orders: asyncio.Queue[Attempt]) -> None:
    """Answer every order to an echo desk, for ever."""
    while True:
        attempt = await orders.get()
        with otel.use_span(NonRecordingSpan(attempt.within)):
            for said in echo_answers(attempt.callout, drill=attempt.drill):
                await sender.learn(attempt, said)
