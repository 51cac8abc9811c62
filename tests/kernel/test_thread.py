"""The whole thread through the kernel: HTTP → learn → outbox → Kafka, and Kafka → learn, on the real things."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx

from shared.kernel import bus
from shared.kernel.clock import now
from shared.kernel.service import running
from shared.kernel.settings import Settings
from tests.kernel.tally.service import Counted, Given, build

CITY = "140700"


async def ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await client.get("/health/ready")).json()["status"] == "ready":
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def said(brokers: str, topic: str, case: UUID, total: int, within: float = 10) -> list[Any]:
    """The records about a case, once its count has come to `total`."""
    reader = bus.reader(brokers, topic)
    await reader.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(within):
            while total not in totals(found):
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found += [record for record in records if record.key == str(case).encode()]
    finally:
        await reader.stop()
    return found


def totals(records: list[Any]) -> list[int]:
    return [Counted.model_validate_json(r.value).total for r in records if b"total" in r.value]


async def add(client: httpx.AsyncClient, case: UUID, amount: int, key: str) -> httpx.Response:
    return await client.post(
        f"/cities/{CITY}/tallies/{case}/additions",
        json={"case": str(case), "city": CITY, "amount": amount},
        headers={"idempotency-key": key},
    )


async def test_what_is_asked_once_is_said_once_however_often_it_is_asked(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running(build, settings):
        await ready(client)
        answers = [await add(client, case, 5, "first") for _ in range(5)]
        await add(client, case, 2, "second")
        records = await said(settings.kafka, "tally.counted", case, 7)
    assert [answer.json() for answer in answers] == [{"total": 5}] * 5
    assert totals(records) == [5, 7]


async def test_the_same_key_with_another_body_is_refused_and_changes_nothing(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running(build, settings):
        await ready(client)
        await add(client, case, 5, "key")
        refused = await add(client, case, 6, "key")
        later = await add(client, case, 1, "next")
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert later.json() == {"total": 6}


async def test_an_event_heard_twice_counts_once(settings: Settings, client: httpx.AsyncClient) -> None:
    case, event_id = uuid4(), str(uuid4())
    producer = bus.producer(settings.kafka)
    await producer.start()
    async with running(build, settings):
        await ready(client)
        for _ in range(3):
            await give(producer, case, 4, event_id)
        await give(producer, case, 1, str(uuid4()))
        records = await said(settings.kafka, "tally.counted", case, 5)
    await producer.stop()
    assert totals(records) == [4, 5]


async def give(producer: Any, case: UUID, amount: int, event_id: str) -> None:
    event = Given(case=case, city=CITY, at=now(), amount=amount)
    headers = [("ce_type", Given.type_name().encode()), ("ce_id", event_id.encode())]
    await producer.send_and_wait(
        "tally.given", event.model_dump_json().encode(), key=str(case).encode(), headers=headers
    )
