"""Where a service takes events from its peers: `POST /events` learns what Kafka is late with, as if from Kafka."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header
from opentelemetry.trace import SpanKind
from pydantic import Field, SecretStr

from shared.kernel import trace
from shared.kernel.errors import Malformed, Unavailable, crash_places
from shared.kernel.log.fallback.client import AT_ONCE, EVENTS, NAMED, log_refused
from shared.kernel.log.router import EventRouter
from shared.kernel.machine.cloudevent import StructuredEvent, source_of
from shared.kernel.process.web import requires_peer_token

log = structlog.get_logger()

NoteDoubt = Callable[[float], None]
"""Called with how many seconds ago a peer, or one of its peers, last saw Kafka late."""


@dataclass(frozen=True)
class BatchOutcome:
    """What became of a batch; an id in neither is to be sent again."""

    learnt: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def routes(router: EventRouter, tokens: Mapping[str, SecretStr], doubted: NoteDoubt) -> APIRouter:
    """`GET` says which types are heard; `POST` takes a CloudEvents batch of them from the service that says them.

    Events about one case are learnt in their order, cases side by side. A malformed one is refused with its reason; one
    whose handler finds nobody or fails is left out of the answer, and so are those of its case behind it.
    """
    peer = requires_peer_token(tokens)
    api = APIRouter(dependencies=[peer])

    @api.get(EVENTS)
    async def hears() -> dict[str, list[str]]:
        """The types of events that are heard here."""
        return {"hears": router.event_types}

    @api.post(EVENTS)
    async def hear(
        batch: Annotated[list[StructuredEvent], Field(max_length=AT_ONCE)],
        speaker: str = peer,
        doubt: Annotated[float | None, Header(alias="jingyi-doubt", ge=0, description="Seconds")] = None,
    ) -> dict[str, Any]:
        """Learn a batch of 50 at the most; what is in neither list of the answer is to be sent again."""
        if doubt is not None:
            doubted(doubt)
        outcome = await learn_batch(router, batch, source_of(speaker))
        return {"learnt": outcome.learnt, "refused": outcome.refused}

    return api


async def learn_batch(router: EventRouter, batch: list[StructuredEvent], source: str) -> BatchOutcome:
    outcome, cases = BatchOutcome(), dict[str, list[StructuredEvent]]()
    for event in batch:
        cases.setdefault(event.partitionkey, []).append(event)
    # What one case meets must not keep the others from being learnt.
    ends = await asyncio.gather(
        *(_learn_case(router, events, source, outcome) for events in cases.values()), return_exceptions=True
    )
    silences = [failure for failure in ends if isinstance(failure, Unavailable)]
    if silences:
        log.warning("waiting", at=EVENTS, cases=len(silences), error=str(silences[0]))
    crashes = [failure for failure in ends if failure is not None and failure not in silences]
    if crashes:
        places = {place: None for crash in crashes for place in crash_places(crash)}
        log.error("event_not_learnt", cases=len(crashes), at=list(places)[:NAMED])
    log_refused(outcome.refused)
    return outcome


async def _learn_case(router: EventRouter, events: list[StructuredEvent], source: str, outcome: BatchOutcome) -> None:
    for event in events:
        attributes: dict[str, str | int] = {"messaging.operation.type": "process", "messaging.message.id": event.id}
        with trace.span(
            f"hear {event.type}", trace.parse_traceparent(event.traceparent), SpanKind.CONSUMER, attributes
        ):
            try:
                await router.learn(event.received_from(source))
            except Malformed as poison:
                outcome.refused[event.id] = poison.reason
            else:
                outcome.learnt.append(event.id)
