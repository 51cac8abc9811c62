"""Rows that Kafka is late with also go to their consumers by HTTP, under the same ids; Kafka gets them all the same.

So do the rows that it took in the seconds before: a silent broker may have acknowledged what no consumer has.

Kafka is doubted while a row of ours waits over two seconds and Kafka has owed us an answer for as long, by a clock that
stands while our own loop is late; and for `LASTS` after a peer saw the same: so a chain of services loses the two
seconds once, not at each hop. Each batch carries the age of its sender's evidence, and evidence only grows older on its
way: a doubt ends by itself, however long peers send to each other. Urgent rows go at once in any case.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import structlog

from shared.kernel.errors import Unavailable
from shared.kernel.log.fallback.client import WITHIN, EventsClient
from shared.kernel.log.outbox import stream_position
from shared.kernel.log.relay import Relay
from shared.kernel.machine.store import OutboxRow, Store

LATE = 2.0
"""Seconds after which a row without Kafka's acknowledgement is evidence against it."""

LASTS = 5.0
"""Seconds that evidence holds: longer than a call takes through all services, shorter than anybody minds."""

FIRST = 2.0
"""Seconds for which a row waits at the most for urgent ones of its own commit."""

LOOK = 0.5
"""Seconds between looks at the oldest rows, and between rounds for what a peer did not take."""

ASK_EVERY, ASK_AGAIN = 10.0, 1.0
"""Seconds between asking a peer what it takes, and until an unreachable one is asked again."""

READ, KEPT = 200, 1000
"""Rows read of a shard at a time; rows kept for one peer, beyond which it must take some first."""

log = structlog.get_logger()


class KafkaDoubt:
    """Whether Kafka is doubted, by the newest evidence that anybody has seen."""

    def __init__(self) -> None:
        self._newest: float | None = None

    def note_evidence(self, ago: float = 0.0) -> None:
        """Somebody saw a row wait too long, `ago` seconds before now."""
        moment = asyncio.get_running_loop().time() - ago
        self._newest = moment if self._newest is None else max(self._newest, moment)

    @property
    def evidence_age(self) -> float | None:
        """Seconds since the newest evidence; None when Kafka is not doubted."""
        age = None if self._newest is None else asyncio.get_running_loop().time() - self._newest
        return age if age is not None and age < LASTS else None


@dataclass(eq=False)
class _PeerQueue:
    """What one peer is to get. `read`: how far each outbox was read; `waiting`: rows that the peer has not settled;
    `put_off`: when to send it a case again that it could not learn. `recent_too`: also what Kafka took just before."""

    peer: EventsClient
    read: dict[str, bytes] = field(default_factory=dict)
    waiting: list[OutboxRow] = field(default_factory=list)
    put_off: dict[str, float] = field(default_factory=dict)
    recent_too: bool = True
    urgent: list[OutboxRow] = field(default_factory=list)
    rows_came: asyncio.Event = field(default_factory=asyncio.Event)
    urgent_came: asyncio.Event = field(default_factory=asyncio.Event)

    def clear(self) -> None:
        """Begin anew at the next doubt: Kafka has all of these, or takes them in time."""
        self.read.clear()
        self.waiting.clear()
        self.recent_too = True


class FallbackDelivery:
    """Sends one service's late rows to its peers."""

    def __init__(
        self,
        peers: Iterable[EventsClient],
        relay: Relay,
        transport: Callable[..., httpx.AsyncBaseTransport] = httpx.AsyncHTTPTransport,
    ) -> None:
        self._queues = [_PeerQueue(peer) for peer in peers]
        self._relay = relay
        self._transport = transport
        self._doubt = KafkaDoubt()
        self._was_doubted = False
        self._urgent_rows: Counter[str] = Counter()
        self._urgent_done: dict[str, asyncio.Event] = {}
        relay.before_send = self.urgent_sent

    @property
    def unreachable_peers(self) -> list[str]:
        return [queue.peer.name for queue in self._queues if queue.peer.unreachable]

    @property
    def doubts_kafka(self) -> bool:
        return self._doubt.evidence_age is not None

    def note_doubt(self, ago: float) -> None:
        """A peer, or one of its peers, saw Kafka late `ago` seconds before now."""
        self._doubt.note_evidence(ago)
        self._wake_queues()

    def take_rows(self, rows: tuple[OutboxRow, ...]) -> None:
        """Look at freshly committed rows: the urgent go at once, the others too while Kafka is doubted.

        The others of a case wait for its urgent ones, for each peer: that a person has phoned must be learnt before the
        alarm that it answers has become an order.
        """
        urgent = [row for row in rows if row.urgent]
        for queue in self._queues if urgent else ():
            queue.urgent += urgent
            self._urgent_rows.update(row.key for row in urgent)
            queue.urgent_came.set()
        if self._queues and 0 < len(urgent) < len(rows):
            for row in urgent:
                self._urgent_done.setdefault(row.key, asyncio.Event())
        if rows and self.doubts_kafka:
            self._wake_queues()

    def urgent_sent(self, row: OutboxRow) -> Awaitable[None] | None:
        """What ends once the urgent rows of this row's commit went to the peers, or after `FIRST`; None if they have.

        When a silent store is back, an alarm and the phone call that answered it are learnt together. By Kafka alone,
        the order that follows from the alarm could reach its desk before anybody learnt of the phone call.
        """
        all_sent = self._urgent_done.get(row.key)
        return None if all_sent is None else _set_within(all_sent, FIRST)

    async def run(self, store: Store) -> None:
        """Look, ask and send, for ever; returns at once if there are no peers."""
        if not self._queues:
            return
        limits = httpx.Limits(max_connections=20, max_keepalive_connections=20, keepalive_expiry=30)
        # No proxy of the environment comes between services.
        pool = self._transport(verify=ssl.create_default_context(), trust_env=False, limits=limits)
        async with (
            httpx.AsyncClient(transport=pool, timeout=WITHIN, trust_env=False) as client,
            asyncio.TaskGroup() as work,
        ):
            work.create_task(self._look(store))
            for queue in self._queues:
                work.create_task(self._keep_asking(queue.peer, client))
                work.create_task(self._send_late(queue, store, client))
                work.create_task(self._send_urgent(queue, client))

    def _wake_queues(self) -> None:
        for queue in self._queues:
            queue.rows_came.set()

    async def _look(self, store: Store) -> None:
        clock, late_at = asyncio.get_running_loop().time, float("-inf")
        while True:
            waited = self._relay.unanswered_for()
            if waited >= LATE:
                waited = min(waited, await self._oldest_wait(store))
            if waited >= LATE:
                self._doubt.note_evidence()
                if clock() - late_at > LATE:  # it had been well, and falls silent anew
                    for queue in self._queues:
                        queue.recent_too = True
                late_at = clock()
                self._wake_queues()
            if self.doubts_kafka is not self._was_doubted:
                self._was_doubted = self.doubts_kafka
                log.warning(
                    "hedging" if self._was_doubted else "hedging_ended", signal="warning", waits=round(waited, 1)
                )
            # The next look is at the moment when the oldest row becomes late.
            await asyncio.sleep(min(LOOK, LATE - waited) if waited < LATE else LOOK)

    async def _oldest_wait(self, store: Store) -> float:
        """Seconds the oldest row of our shards waits for Kafka, by the store's clock; 0 where the store is silent."""
        held = self._relay.leases.held_shards()
        try:
            time, *heads = await store.ask_all([("TIME",), *(("XRANGE", s.outbox, "-", "+", "COUNT", 1) for s in held)])
        except Unavailable:
            return 0.0
        now = int(time[0]) * 1000 + int(time[1]) // 1000
        late = [
            now - stream_position(head[0][0])[0]
            for shard, head in zip(held, heads, strict=True)
            if head and head[0][0] not in shard.acknowledged  # else Kafka has it, and only its deletion waits
        ]
        return max(late, default=0) / 1000

    async def _keep_asking(self, peer: EventsClient, client: httpx.AsyncClient) -> None:
        while True:
            with suppress(Unavailable):
                await peer.fetch_types(client)
            await asyncio.sleep(ASK_AGAIN if peer.unreachable else ASK_EVERY)

    async def _send_urgent(self, queue: _PeerQueue, client: httpx.AsyncClient) -> None:
        """Once, in their order; what fails here goes the way of all late rows."""
        while True:
            await queue.urgent_came.wait()
            queue.urgent_came.clear()
            rows, queue.urgent = queue.urgent, []
            urgent_now = Counter(row.key for row in rows)
            with suppress(Unavailable):
                if queue.peer.heard_types is None:
                    await queue.peer.fetch_types(client)
                rows = _rows_for(queue.peer, rows)
                while rows:
                    sent, _ = await queue.peer.send_rows(client, rows, self._doubt.evidence_age)
                    rows = rows[len(sent) :]
            self._urgent_rows -= urgent_now
            for case in (urgent_now.keys() & self._urgent_done.keys()) - self._urgent_rows.keys():
                self._urgent_done.pop(case).set()
            self._wake_queues()

    async def _send_late(self, queue: _PeerQueue, store: Store, client: httpx.AsyncClient) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK if self.doubts_kafka else None):
                    await queue.rows_came.wait()
            queue.rows_came.clear()
            if not self.doubts_kafka:
                queue.clear()
                continue
            with suppress(Unavailable):
                if queue.peer.unreachable or queue.peer.heard_types is None:
                    await queue.peer.fetch_types(client)
                more = True
                while more:
                    more = len(queue.waiting) < KEPT and await self._read(queue, store)
                    await self._send_waiting(queue, client)

    async def _read(self, queue: _PeerQueue, store: Store) -> bool:
        """Take the rows that came since for this peer; whether more lie behind them."""
        held, more = self._relay.leases.held_shards(), False
        if queue.recent_too:
            queue.waiting += _rows_for(queue.peer, self._relay.recent_rows())
            queue.recent_too = False
        queue.read = {shard.tag: queue.read.get(shard.tag, b"-") for shard in held}
        replies = await store.ask_all([("XRANGE", s.outbox, queue.read[s.tag], "+", "COUNT", READ) for s in held])
        for shard, entries in zip(held, replies, strict=True):
            rows = [OutboxRow.from_fields(fields) for row_id, fields in entries if row_id not in shard.acknowledged]
            queue.waiting += _rows_for(queue.peer, rows)
            queue.read[shard.tag] = b"(" + entries[-1][0] if entries else queue.read[shard.tag]
            more = more or len(entries) == READ
        return more

    async def _send_waiting(self, queue: _PeerQueue, client: httpx.AsyncClient) -> None:
        """Send all that waits for a peer, once. What it does not settle holds back the rest of its case."""
        now = asyncio.get_running_loop().time()
        queue.put_off = {case: until for case, until in queue.put_off.items() if until > now}
        # A case whose urgent rows are under way waits for them: they were looked at first.
        while rows := [
            row for row in queue.waiting if row.key not in self._urgent_rows and row.key not in queue.put_off
        ]:
            sent, settled = await queue.peer.send_rows(client, rows, self._doubt.evidence_age)
            queue.put_off |= {row.key: now + LOOK for row in sent if row.headers["ce_id"] not in settled}
            queue.waiting = [row for row in queue.waiting if row.headers["ce_id"] not in settled]


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _rows_for(peer: EventsClient, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
    return [row for row in rows if row.headers.get("ce_type") in (peer.heard_types or ())]
