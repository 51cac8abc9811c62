"""A consumer or producer that falls silent without an error is noticed; one with nothing to do is left alone."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka.errors import KafkaTimeoutError, OutOfOrderSequenceNumber

from deploy.local.kafka import Cluster
from shared.kernel.log import kafka, relay, watchdog
from shared.kernel.log.consumer import Consumer
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.log.leases import OutboxLeases
from shared.kernel.log.relay import Relay
from shared.kernel.log.watchdog import ConsumerStuck
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.process.platform import Platform
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import add, counted, give, mouth, once, ready, stopped, totals
from tests.kernel.tally.service import Given, build

QUIET = 6.0
"""Seconds that are long for the watchdog of these tests."""

Change = Callable[[Any], object]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty seconds become four, fifteen three."""
    monkeypatch.setattr(watchdog, "LOOK", 0.2)


def changed(consumer: Change = id, producer: Change = id) -> Platform:
    """The real bus; what it makes is changed first."""

    class Changed(KafkaBus):
        def consumer(self, group: str, *, patient: bool = False) -> Any:
            made = super().consumer(group, patient=patient)
            consumer(made)
            return made

        def producer(self) -> Any:
            made = super().producer()
            producer(made)
            return made

    return Platform(bus=Changed)


async def end_of(settings: Settings, bus: Any, seconds: float = 25) -> str:
    """Why a consumer of the tally's facts ended by itself within so many seconds; empty if it did not."""
    store = ValkeyStore(settings.redis_url, lambda *_: None)
    reading = asyncio.create_task(store.run())
    consumer = Consumer(
        f"watched-{uuid4().hex[:8]}",
        bus,
        {Given: hear},
        store,
        Relay(bus, OutboxLeases("watched", "test", ())),
    )
    hearing = asyncio.create_task(consumer.run())
    await asyncio.wait({hearing}, timeout=seconds)
    consumer.stop()
    why: list[str] = []
    try:
        await hearing
    except* ConsumerStuck as stuck:
        why = [str(leaf) for leaf in stuck.exceptions]
    reading.cancel()
    await asyncio.wait({reading})
    return " ".join(why)


def deaf(settings: Settings, polls: Callable[..., Any]) -> Any:
    return changed(consumer=lambda made: setattr(made, "getmany", polls)).bus(settings.kafka, None)


async def hear(event: Given, cause: IdempotencyKey) -> None:
    """Everything is well."""


async def test_a_consumer_whose_polls_never_return_ends_the_process(
    settings: Settings, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "STILL", 100)  # what other tests left on the topic is not the reason here

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    assert await end_of(settings, deaf(settings, never)) == "no_poll_returns"


async def test_a_consumer_that_polls_and_gets_nothing_of_what_is_there_ends_the_process(
    settings: Settings, quick: None
) -> None:
    async def nothing(**_: Any) -> dict[Any, Any]:
        await asyncio.sleep(0.1)
        return {}

    async with mouth(settings.kafka) as producer:
        await give(producer, uuid4(), 1)
    assert await end_of(settings, deaf(settings, nothing)) == "records_lie_unheard"


async def test_a_consumer_that_hears_and_never_commits_ends_the_process(settings: Settings, quick: None) -> None:
    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    async with mouth(settings.kafka) as producer:
        await give(producer, uuid4(), 1)
    ends = changed(consumer=lambda made: setattr(made, "commit", never)).bus(settings.kafka, None)
    assert await end_of(settings, ends) == "offsets_not_committed"


async def test_a_consumer_whose_library_has_ended_within_ends_the_process(settings: Settings, quick: None) -> None:
    def fails(made: Any) -> None:
        async def raises(*_: Any) -> None:
            raise KeyError(1)

        made._client._metadata_update, made._client._metadata_max_age_ms = raises, 500

    ends = changed(consumer=fails).bus(settings.kafka, None)
    assert await end_of(settings, ends) == "brokers_not_learnt"


async def test_a_consumer_with_nothing_to_hear_is_left_alone(settings: Settings, quick: None) -> None:
    assert await end_of(settings, KafkaBus(settings.kafka), QUIET) == ""


async def test_a_consumer_without_kafka_is_left_alone_and_hears_again(
    frail_settings: Settings, client: httpx.AsyncClient, frail: Cluster, quick: None
) -> None:
    case = uuid4()
    async with running_service(build, frail_settings):
        await ready(client)
        async with stopped(frail):
            await asyncio.sleep(QUIET)
        async with mouth(frail_settings.kafka) as producer:
            await give(producer, case, 1)
        await counted(frail_settings.kafka, case, 1, 40)


async def test_any_error_of_a_producer_makes_a_new_one_that_sends_all_again_in_order(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case, made = uuid4(), list[Any]()
    async with running_service(build, settings, platform=changed(producer=made.append)):
        await ready(client)
        await add(client, case, 1, "one")
        await counted(settings.kafka, case, 1)

        async def refused(*_: Any, **__: Any) -> Any:
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(OutOfOrderSequenceNumber())
            return answer

        made[0].send = refused
        for nth in range(2, 5):
            await add(client, case, 1, f"{nth}")
        assert totals(once(await counted(settings.kafka, case, 4))) == [1, 2, 3, 4]
    assert len(made) == 2


async def test_a_producer_that_neither_acknowledges_nor_stops_is_replaced_in_bounded_time(
    settings: Settings, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "ACKNOWLEDGED_WITHIN", 2.5)
    monkeypatch.setattr(kafka, "STOPPED_WITHIN", 0.5)
    case, made = uuid4(), list[Any]()
    async with running_service(build, settings, platform=changed(producer=made.append)):
        await ready(client)

        async def silent(*_: Any, **__: Any) -> Any:
            return asyncio.get_running_loop().create_future()

        async def never() -> None:
            await asyncio.Event().wait()

        made[0].send, stop, made[0].stop = silent, made[0].stop, never
        await add(client, case, 1, "one")
        assert totals(once(await counted(settings.kafka, case, 1))) == [1]
        await stop()
    assert len(made) == 2


async def test_a_producer_let_go_with_kafka_down_leaves_nothing_that_sends_on(
    frail_settings: Settings, frail: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "STOPPED_WITHIN", 1.0)
    before, producer = asyncio.all_tasks(), KafkaBus(frail_settings.kafka).producer()
    await producer.start()
    await give(producer, uuid4(), 1)
    async with stopped(frail):
        unanswered = await producer.send("tally.given", b"{}")
        await kafka.stop_producer(producer)
        assert isinstance(unanswered.exception(), KafkaTimeoutError)
    await asyncio.sleep(0.5)
    assert asyncio.all_tasks() <= before
