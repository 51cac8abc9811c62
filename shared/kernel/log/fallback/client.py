"""A peer's events endpoint, as its client: which types it takes, and sending it some."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

import httpx
import structlog
from opentelemetry.trace import Span, SpanKind, StatusCode
from pydantic import BaseModel

from shared.kernel import trace
from shared.kernel.errors import Unavailable
from shared.kernel.machine.cloudevent import BATCH, structured_event
from shared.kernel.machine.store import OutboxRow

EVENTS = "/events"
"""Where every service learns events from its peers."""

MAX_BATCH = 1_048_576
"""Bytes of the largest batch of peers' events: at least a few of bus.MAX_EVENT."""

AT_ONCE = 50
"""Rows of a batch at the most."""

NAMED = 5
"""Reasons and events of one batch that the log names at the most; the others are counted."""

WITHIN = 4.0
"""Seconds for an answer: a peer learns before it answers, and may wait for its store for three."""

SAY_EVERY = 60.0
"""Seconds between two lines about a peer that comes and goes."""

A = TypeVar("A", bound=BaseModel)

log = structlog.get_logger()


class _HeardTypes(BaseModel):
    hears: frozenset[str]


class _Outcome(BaseModel):
    learnt: list[str]
    refused: dict[str, str]


class EventsClient:
    """One peer. `heard_types` is None until it has answered once; `unreachable` while it does not answer."""

    def __init__(self, name: str, url: str, token: str) -> None:
        self.name = name
        self.heard_types: frozenset[str] | None = None
        self.unreachable = False
        self._quiet_until = 0.0
        self._url = url.rstrip("/") + EVENTS
        self._bearer = {"authorization": f"Bearer {token}"}

    async def fetch_types(self, client: httpx.AsyncClient) -> None:
        """Ask which types it takes. Raises Unavailable."""
        request = client.build_request("GET", self._url, headers=self._bearer)
        self.heard_types = (await self._exchange(request, client, _HeardTypes)).hears
        self.unreachable = False

    async def send_rows(
        self, client: httpx.AsyncClient, rows: Sequence[OutboxRow], doubt: float | None
    ) -> tuple[Sequence[OutboxRow], set[str]]:
        """Send the first of these rows, as many as one batch holds: the rows sent, and the event ids that are settled.

        Settled is what it learnt and what it can never learn. `doubt` is the seconds since somebody last saw
        Kafka late, None if it is not doubted. Raises Unavailable: nothing is known of any of them.
        """
        spans = [_span(row) for row in rows[:AT_ONCE]]
        batch, sent = _batch(rows, spans)
        doubted = {} if doubt is None else {"jingyi-doubt": f"{doubt:.3f}"}
        headers = {**self._bearer, "content-type": BATCH, **doubted}
        settled: set[str] = set()
        try:
            request = client.build_request("POST", self._url, headers=headers, content=batch)
            answer = await self._exchange(request, client, _Outcome)
            settled = {*answer.learnt, *answer.refused}
            log_refused(answer.refused, signal="warning", door=self.name)
        finally:
            for row, span in zip(rows, spans, strict=False):
                if row.headers["ce_id"] not in settled:
                    span.set_status(StatusCode.ERROR, "not_learnt")
                span.end()
        return rows[:sent], settled

    async def _exchange(self, request: httpx.Request, client: httpx.AsyncClient, kind: type[A]) -> A:
        try:
            async with asyncio.timeout(WITHIN):
                answer = (await client.send(request)).raise_for_status()
            parsed = kind.model_validate_json(answer.content)
        except (httpx.HTTPError, TimeoutError, ValueError) as silence:
            # Once for each outage and each minute, and not for a peer that has yet to start.
            now = asyncio.get_running_loop().time()
            if not self.unreachable and self.heard_types is not None and now >= self._quiet_until:
                self._quiet_until = now + SAY_EVERY
                log.warning("door_away", signal="warning", door=self.name, error=type(silence).__name__)
            self.unreachable = True
            raise Unavailable(f"The door of {self.name} does not answer: {type(silence).__name__}.") from silence
        else:
            return parsed


def log_refused(refused: Mapping[str, str], **where: str) -> None:
    """One line a reason, however many events a batch has: how many, and the ids of some."""
    for reason in list(dict.fromkeys(refused.values()))[:NAMED]:
        ids = [event_id for event_id, why in refused.items() if why == reason]
        log.warning("event_refused", reason=reason, events=len(ids), ids=ids[:NAMED], **where)


def _span(row: OutboxRow) -> Span:
    attributes: dict[str, str | int] = {
        "messaging.operation.type": "send",
        "messaging.destination.name": row.topic,
        "messaging.message.id": row.headers["ce_id"],
    }
    within = trace.parse_traceparent(row.headers.get("traceparent"))
    return trace.start_span(f"hedge {row.topic}", within, SpanKind.PRODUCER, attributes)


def _batch(rows: Sequence[OutboxRow], spans: Sequence[Span]) -> tuple[bytes, int]:
    """A JSON list of the first rows, as long as a peer takes it, and how many they are: one at least."""
    sent: list[bytes] = []
    length = 2
    for row, span in zip(rows, spans, strict=False):
        event = structured_event(row, trace.traceparent_of(span.get_span_context()))
        length += len(event) + 1
        if sent and length > MAX_BATCH:
            break
        sent.append(event)
    return b"[" + b",".join(sent) + b"]", len(sent)
