"""Kafka as we use it: settings whose defaults would lose or stall, set here once.

Sources of the figures: measurements on aiokafka 0.14 with Kafka 4.x (docs/decisions/0003-kafka-settings.md).
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import CloseReason
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from shared.kernel.log.bus import MAX_EVENT, GroupConsumer, Producer, TopicReader
from shared.kernel.log.unreadable import FetchedBytes, FetchedRecords

fetcher.MemoryRecords, fetcher.PartitionRecords = FetchedBytes, FetchedRecords  # else one record stops every consumer

PATIENCE_MS = 150
"""Milliseconds a follower lets records gather before it fetches them together."""


READER_PATIENCE_MS = 500
"""The same for a patient reader, which nobody in danger waits for."""


STOPPED_WITHIN = 5.0
"""Seconds."""


@dataclass(frozen=True)
class KafkaBus:
    """The brokers at `host:port,host:port`; everything it makes is yet to be started.

    `member` is a name that no other process of the service has, and that this one has again after a restart: Kafka
    then gives it its partitions back at once. Without it, those wait until the session of the process before has ended.
    """

    brokers: str
    member: str | None = None

    def producer(self) -> AIOKafkaProducer:
        """A producer that acknowledges only what every in-sync replica has, and notices a dead leader in seconds."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.brokers,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=3000,  # a frozen leader: sending resumes after 6 s, by default after 40
            retry_backoff_ms=200,
            metadata_max_age_ms=10_000,
            linger_ms=0,
            max_request_size=MAX_EVENT,
        )
        patch_closed_connection_errors(producer.client)
        return producer

    def consumer(self, group: str, *, patient: bool = False) -> AIOKafkaConsumer:
        """A group member that commits by hand, starts at the beginning and fails over in seconds.

        A patient one fetches what gathered in `PATIENCE_MS`: a fetch costs both sides the same for one record or fifty.
        """
        gathering = {"fetch_min_bytes": MAX_EVENT, "fetch_max_wait_ms": PATIENCE_MS} if patient else {}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.brokers,
            group_id=group,
            group_instance_id=self.member,
            **gathering,
            enable_auto_commit=False,  # an offset stands for work that is done, and not for records that came
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            rebalance_timeout_ms=3000,
            request_timeout_ms=3500,  # above the one before: JoinGroup obeys it
            max_poll_interval_ms=30_000,
            max_poll_records=500,
            retry_backoff_ms=200,
            metadata_max_age_ms=1000,  # a broker that shuts down hands over first, and then answers no fetch
        )
        patch_closed_connection_errors(consumer._client)
        return consumer

    def reader(self, *topics: str, patient: bool = False) -> AIOKafkaConsumer:
        """A consumer of whole topics outside any group, for those who look at what was said."""
        gathering = {"fetch_min_bytes": MAX_EVENT, "fetch_max_wait_ms": READER_PATIENCE_MS} if patient else {}
        reader = AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.brokers,
            group_id=None,
            **gathering,
            auto_offset_reset="earliest",
            request_timeout_ms=3500,
            retry_backoff_ms=200,
            metadata_max_age_ms=10_000,
        )
        patch_closed_connection_errors(reader._client)
        return reader

    def admin(self) -> AIOKafkaAdminClient:
        """A client that asks after topics and their settings."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers, request_timeout_ms=3000)
        patch_closed_connection_errors(admin._client)
        return admin


def patch_closed_connection_errors(client: Any) -> None:
    """Make a connection that closes just then, in this client, a broken connection like any other.

    aiokafka 0.14 meets a KeyError where a connection closes as it is made (`_get_conn`, `send`), and under uvloop a
    RuntimeError where one closes as it is written to. Each ends one of its own tasks unseen, or the caller's.
    """
    connected, send = client._get_conn, client.send

    async def connection(node_id: Any, **more: Any) -> Any:
        with suppress(KeyError):
            found = await connected(node_id, **more)
            if found is not None:
                found.send = partial(_sent, found)
            return found
        return None

    async def sent(node_id: Any, request: Any, **more: Any) -> Any:
        try:
            return await send(node_id, request, **more)
        except KeyError as gone:
            raise KafkaConnectionError(f"The connection to broker {node_id} closed.") from gone

    client._get_conn, client.send = connection, sent


def _sent(connection: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return type(connection).send(connection, request, expect_response)
    except RuntimeError as closed:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError("The connection closed as it was written to.") from closed


def metadata_task_ended(consumer: GroupConsumer) -> bool:
    """Whether the task that learns of brokers has ended in it: who asks it for one then waits for ever, unanswered."""
    task = getattr(getattr(consumer, "_client", None), "_sync_task", None)
    return task is not None and task.done()


async def stop_consumer(consumer: GroupConsumer | TopicReader) -> None:
    """Stop a consumer in bounded time, also one that is broken.

    Its own stop() may fail half-way, or end as if it had been cancelled where a fetch waits to be tried again (aiokafka
    0.14, `Fetcher.close`); what it has left open then is closed here.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({stopping}, timeout=STOPPED_WITHIN)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    stopping.cancel()
    client = getattr(consumer, "_client", None)
    if (task := getattr(client, "_sync_task", None)) is not None:
        task.cancel()
    for connection in list(getattr(client, "_conns", {}).values()):
        connection.close()


async def stop_producer(producer: Producer) -> None:
    """Stop a producer in bounded time, whatever it still holds: the outbox has that too.

    Its own stop() waits for a silent leader for ever; cut short, it goes on sending beside its successor.
    """
    try:
        async with asyncio.timeout(STOPPED_WITHIN):
            await producer.stop()
    except KafkaError:
        return
    except TimeoutError:
        left_open: Any = producer  # aiokafka has no public name for what its stop() leaves open
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(STOPPED_WITHIN):
                await left_open._sender.close()
        left_open._message_accumulator.fail_all(KafkaTimeoutError())
        await left_open.client.close()
