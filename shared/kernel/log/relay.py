"""Outbox → Kafka: what was committed is sent in commit order and deleted after the broker's acknowledgement.

A lease holder hands rows over in memory as they commit and reads the outbox only for rows older than a second: those
another process committed, and those whose sending failed. A row without an acknowledgement for ten seconds has an
unknown outcome: the producer is abandoned (its records may still arrive; consumers know them by their ids) and
everything unacknowledged is sent again in order. What one case's row has to wait for holds up that case alone.
Over 300 lines, for sending, sweeping and deleting work on one set of rows.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from shared.kernel import trace
from shared.kernel.clock import RunningTime
from shared.kernel.errors import Unavailable
from shared.kernel.log.bus import Bus, Producer
from shared.kernel.log.kafka import stop_producer
from shared.kernel.log.leases import OutboxLeases
from shared.kernel.log.outbox import OutboxShard, stream_position
from shared.kernel.machine.store import OutboxRow, Store
from shared.kernel.machine.vault import KEYS_TOPIC

SWEEP = 1.0
ACKNOWLEDGED_WITHIN, SENT_WITHIN = 10.0, 5.0
DELETE_EVERY = 0.05
"""Seconds."""

AT_ONCE = 1000  # rows read from an outbox at a time

LATELY, REMEMBERED = 5.0, 500
"""Seconds, and rows at the most, for which what Kafka took is remembered: it may fall silent before anybody heard."""

log = structlog.get_logger()


_Sending = tuple[OutboxShard, bytes, OutboxRow]


def at_once(_: OutboxRow) -> Awaitable[None] | None:
    """Nothing has to be told elsewhere before this row."""
    return None


async def _nothing() -> None:
    """What a wrapped key waits for, before whose acknowledgement nothing of its case may go."""


class Relay:
    """Sends one service's committed events."""

    def __init__(self, bus: Bus, leases: OutboxLeases) -> None:
        self._bus = bus
        self._running = RunningTime()
        self.leases = leases
        self._shards = leases.shards
        self._rows: deque[_Sending] = deque()
        self._cases_held: dict[str, deque[_Sending]] = {}
        self._asked: dict[tuple[str, bytes], float] = {}
        self._away_since = 0.0
        self._wanted, self._deletable = asyncio.Event(), asyncio.Event()
        self._taken = deque[tuple[float, OutboxRow]](maxlen=REMEMBERED)
        self._producer: Producer | None = None
        self._broken, self._doubted, self.gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.before_send: Callable[[OutboxRow], Awaitable[None] | None] = at_once

    def take_rows(
        self, tag: str, ids: tuple[bytes, ...], rows: tuple[OutboxRow, ...], follows_others: bool = False
    ) -> None:
        """Take freshly committed rows, in commit order; the sweep finds those that cannot go now, or not yet."""
        shard = self.leases.shard(tag)
        if not rows or not shard.leased or self._producer is None:
            return
        if follows_others:
            shard.fall_behind()
            self._doubted.set()
        if shard.behind:
            shard.held.extend(zip(ids, rows, strict=True))
        else:
            self._enqueue(shard, ids, rows)

    @property
    def connected(self) -> bool:
        """Whether Kafka took or could take records just now."""
        return self._producer is not None and not self.oldest_wait()

    def oldest_wait(self) -> float:
        """Seconds the oldest handed-over row has waited for its acknowledgement, 0 if none waits over 2 s."""
        started = [min(shard.sending.values()) for shard in self._shards.values() if shard.sending]
        waited = asyncio.get_running_loop().time() - min(started) if started else 0.0
        return waited if waited > 2 else 0.0

    def unanswered_for(self) -> float:
        """Seconds for which Kafka owes us a connection, or the answer to a record; those in which we could hear it."""
        since = self._away_since if self._producer is None else next(iter(self._asked.values()), None)
        return 0.0 if since is None else self._running.now() - since

    def recent_rows(self) -> list[OutboxRow]:
        """What Kafka acknowledged in the last seconds, oldest first."""
        since = asyncio.get_running_loop().time() - LATELY
        return [row for at, row in self._taken if at > since]

    async def publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> None:
        """Send one record that is in no outbox and wait for its acknowledgement. Raises Unavailable."""
        if self._producer is None:
            raise Unavailable("Kafka is not connected.")
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                await (await self._producer.send(topic, value=value, key=key, headers=headers))
        except (KafkaError, TimeoutError) as silence:
            raise Unavailable(f"Kafka does not take a record for {topic}: {type(silence).__name__}.") from silence

    async def run(self, store: Store) -> None:
        """Lease, for deadlines need it too; once the gate is open send, sweep and delete; all for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._running.run())
            tasks.create_task(self.leases.run(store))
            await self.gate.wait()
            tasks.create_task(self._keep_connected())
            tasks.create_task(self._send())
            tasks.create_task(self._sweep(store))
            tasks.create_task(self._delete(store))

    async def drain_outbox(self, within: float) -> None:
        """Wait until all that lies in our outboxes is acknowledged, at most `within` seconds.

        They are read once more: who was stopped in the middle of a commit never handed its rows over.
        """
        mine = self.leases.held_shards() if self._producer is not None else []
        for shard in mine:
            shard.fall_behind()
        self._doubted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while any(shard.behind or shard.sending or shard.acknowledged for shard in mine):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    async def close(self, store: Store) -> None:
        """Give the leases back and let the producer go."""
        with suppress(Unavailable):
            await self.leases.release(store)
        await self._abandon()

    def _enqueue(self, shard: OutboxShard, ids: tuple[bytes, ...], rows: tuple[OutboxRow, ...]) -> None:
        moment = asyncio.get_running_loop().time()
        for row_id, row in zip(ids, rows, strict=True):
            shard.sending[row_id] = moment
            self._rows.append((shard, row_id, row))
        self._wanted.set()

    async def _send(self) -> None:
        async with asyncio.TaskGroup() as cases:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._rows and self._producer is not None and not self._broken.is_set():
                    sending = self._rows.popleft()
                    row = sending[2]
                    if row.key in self._cases_held:
                        self._cases_held[row.key].append(sending)
                    elif first := _nothing() if row.topic == KEYS_TOPIC else self.before_send(row):
                        self._cases_held[row.key] = deque([sending])
                        cases.create_task(self._send_case(row.key, first))
                    else:
                        await self.send_row(*sending)

    async def _send_case(self, key: str, first: Awaitable[None]) -> None:
        """One case's rows in their order, after what has to come `first`."""
        await first
        held = self._cases_held[key]
        while held:
            await self.send_row(*held.popleft())
        del self._cases_held[key]

    async def send_row(self, shard: OutboxShard, row_id: bytes, row: OutboxRow) -> None:
        """Give one row to Kafka; its acknowledgement comes later, and any failure has the producer replaced."""
        span = trace.start_span(
            f"send {row.topic}",
            trace.parse_traceparent(row.headers.get("traceparent")),
            SpanKind.PRODUCER,
            {"messaging.system": "kafka", "messaging.operation.type": "send", "messaging.destination.name": row.topic},
        )
        headers = {**row.headers, "traceparent": trace.traceparent_of(span.get_span_context())}
        producer = self._producer
        if producer is None:  # abandoned meanwhile: the sweep sends this row again
            span.end()
            return
        self._asked[shard.tag, row_id] = self._running.now()
        try:
            # A producer stopped meanwhile may never answer, and nothing after this row would leave again.
            async with asyncio.timeout(SENT_WITHIN):
                acknowledged = await producer.send(
                    row.topic,
                    value=row.value,
                    key=row.key.encode(),
                    headers=[(name, text.encode()) for name, text in headers.items()],
                )
                # Partitions are independent: what was sealed under a key must not arrive before it.
                if row.topic == KEYS_TOPIC:
                    await asyncio.shield(acknowledged)  # the future is the producer's, and not ours to cancel
        except (KafkaError, TimeoutError) as failure:
            self._failed(producer, shard, span, failure)
        else:
            acknowledged.add_done_callback(lambda done: self._answered(producer, shard, (row_id, row), span, done))

    def _answered(
        self,
        producer: Producer | None,
        shard: OutboxShard,
        sent: tuple[bytes, OutboxRow],
        span: Span,
        done: "asyncio.Future[Any]",
    ) -> None:
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        if failure is not None:
            self._failed(producer, shard, span, failure)
            return
        row_id, row = sent
        self._asked.pop((shard.tag, row_id), None)
        shard.sending.pop(row_id, None)
        self._taken.append((asyncio.get_running_loop().time(), row))
        self.mark_acknowledged(shard, row_id)
        span.end()

    def mark_acknowledged(self, shard: OutboxShard, row_id: bytes) -> None:
        """Kafka has this row: it may be deleted from the outbox."""
        shard.acknowledged.append(row_id)
        self._deletable.set()

    def _failed(self, producer: Producer | None, shard: OutboxShard, span: Span, failure: BaseException) -> None:
        span.set_status(Status(StatusCode.ERROR, type(failure).__name__))
        span.end()
        if producer is self._producer:  # else it was abandoned, and its rows with it
            shard.fall_behind()
            self._broken.set()

    async def _keep_connected(self) -> None:
        """Hold a working producer; after any failure, or ten silent seconds, build a new one and send anew."""
        while True:
            fresh = self._bus.producer()
            try:
                async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                    await fresh.start()
            except asyncio.CancelledError:
                await stop_producer(fresh)
                raise
            except (KafkaError, OSError) as silence:
                log.warning("kafka_unreachable", brokers=self._bus.brokers, error=type(silence).__name__)
                await stop_producer(fresh)
                await asyncio.sleep(1)
                continue
            self._broken.clear()
            self._producer = fresh
            self._wanted.set()
            await self._until_broken()
            log.warning("producer_rebuilt", unacknowledged=sum(len(s.sending) for s in self._shards.values()))
            await self._abandon()

    async def _until_broken(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP):
                    await self._broken.wait()
                    return
            if self.oldest_wait() > ACKNOWLEDGED_WITHIN:
                return

    async def _abandon(self) -> None:
        """Forget what was in flight: the outbox still has it, and the sweep sends it again in order."""
        old, self._producer = self._producer, None
        self._away_since = self._running.now()
        self._rows.clear()
        self._asked.clear()
        for held in self._cases_held.values():
            held.clear()
        for shard in self._shards.values():
            shard.sending.clear()
            shard.held.clear()
            shard.fall_behind()
        if old is not None:
            await stop_producer(old)

    async def _sweep(self, store: Store) -> None:
        """Send what lies in the outboxes since more than a second, oldest first, until a shard has no such row."""
        while True:
            behind = any(shard.behind and shard.leased for shard in self._shards.values())
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1 if behind else SWEEP):
                    await self._doubted.wait()
            self._doubted.clear()
            if self._producer is not None and (mine := self.leases.held_shards()):
                with suppress(Unavailable):
                    await self._sweep_shards(store, mine)

    async def _sweep_shards(self, store: Store, mine: list[OutboxShard]) -> None:
        seconds, micros = await store.ask("TIME")
        now = int(seconds) * 1000 + int(micros) // 1000
        known = [({*shard.sending, *shard.acknowledged}, shard.doubts) for shard in mine]
        replies = await store.ask_all(
            [("XRANGE", s.outbox, "-", "+" if s.behind else now - 1000, "COUNT", AT_ONCE) for s in mine]
        )
        for shard, entries, (before, doubts) in zip(mine, replies, known, strict=True):
            # What was sent while the store answered is in flight, though it was not when we asked.
            missed = [(i, row) for i, row in entries if i not in before and i not in shard.sending]
            if missed:
                self._enqueue(
                    shard, tuple(i for i, _ in missed), tuple(OutboxRow.from_fields(fields) for _, fields in missed)
                )
            if entries and shard.behind:
                shard.held = [held for held in shard.held if stream_position(held[0]) > stream_position(entries[-1][0])]
            # A doubt that came while the store answered needs a reading of its own.
            if shard.behind and shard.doubts == doubts and len(entries) < AT_ONCE:
                self._catch_up(shard)

    def _catch_up(self, shard: OutboxShard) -> None:
        """The outbox is read to its end: what committed since follows from memory, and from now on at once."""
        fresh, shard.held, shard.behind = shard.held, [], False
        self._enqueue(shard, tuple(i for i, _ in fresh), tuple(row for _, row in fresh))

    async def _delete(self, store: Store) -> None:
        while True:
            await self._deletable.wait()
            await asyncio.sleep(DELETE_EVERY)  # so that one command deletes what gathered
            done = [(shard, tuple(shard.acknowledged)) for shard in self._shards.values() if shard.acknowledged]
            with suppress(Unavailable):
                await store.ask_all([("XDEL", shard.outbox, *ids) for shard, ids in done])
                for shard, ids in done:
                    del shard.acknowledged[: len(ids)]
                if not any(shard.acknowledged for shard in self._shards.values()):
                    self._deletable.clear()
