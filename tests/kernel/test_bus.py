"""A connection to Kafka that closes at the worst moment costs an attempt, and never the client that uses it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from shared.kernel.log.kafka import KafkaBus, metadata_task_ended, stop_consumer
from shared.kernel.process.settings import Settings

Closing = Callable[[Any], None]


def as_it_is_written_to(client: Any) -> None:
    """Reset by the broker: its transport is closed, and whoever reads from it has not been told yet."""

    def closed(_: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    for connection in client._conns.values():
        connection._writer.write = closed


def as_it_is_looked_up(client: Any) -> None:
    """Gone between the look that finds it and the word that is to be sent."""
    client.ready = partial(_closing, client, client.ready)


async def _closing(client: Any, ready: Any, node: Any, **more: Any) -> bool:
    client.ready = ready
    found: bool = await ready(node, **more)
    for name in list(client._conns):
        client._conns.pop(name).close()
    return found


@pytest.mark.parametrize("closing", [as_it_is_written_to, as_it_is_looked_up])
async def test_a_producer_sends_on_over_a_connection_that_closes(settings: Settings, closing: Closing) -> None:
    producer = KafkaBus(settings.kafka).producer()
    await producer.start()
    try:
        await producer.send_and_wait("tally.given", b"{}", key=str(uuid4()).encode())
        closing(producer.client)
        await asyncio.wait_for(producer.send_and_wait("tally.given", b"{}", key=str(uuid4()).encode()), 8)
    finally:
        await producer.stop()


@pytest.mark.parametrize("closing", [as_it_is_written_to, as_it_is_looked_up])
async def test_a_consumer_is_told_of_a_connection_that_closes_and_can_be_left_at_once(
    settings: Settings, closing: Closing
) -> None:
    reader = KafkaBus(settings.kafka).reader("tally.given")
    await reader.start()
    try:
        [broker] = reader._client.cluster.brokers()
        await reader._client.send(broker.nodeId, MetadataRequest([]))
        closing(reader._client)
        with pytest.raises(KafkaConnectionError):
            await reader._client.send(broker.nodeId, MetadataRequest([]))
        assert not metadata_task_ended(reader)
    finally:
        await stop_consumer(reader)
