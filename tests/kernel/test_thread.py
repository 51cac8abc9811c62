"""The whole thread through the kernel: HTTP → learn → outbox → Kafka, and Kafka → learn, on the real things."""

from uuid import uuid4

import httpx

from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import add, counted, give, mouth, ready, totals
from tests.kernel.tally.service import build


async def test_what_is_asked_once_is_said_once_however_often_it_is_asked(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await ready(client)
        answers = [await add(client, case, 5, "first") for _ in range(5)]
        await add(client, case, 2, "second")
        records = await counted(settings.kafka, case, 7)
    assert [answer.json() for answer in answers] == [{"total": 5}] * 5
    assert totals(records) == [5, 7]


async def test_the_same_key_with_another_body_is_refused_and_changes_nothing(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await ready(client)
        await add(client, case, 5, "key")
        refused = await add(client, case, 6, "key")
        later = await add(client, case, 1, "next")
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert later.json() == {"total": 6}


async def test_an_event_heard_twice_counts_once(settings: Settings, client: httpx.AsyncClient) -> None:
    case, event_id = uuid4(), str(uuid4())
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        for _ in range(3):
            await give(producer, case, 4, event_id)
        await give(producer, case, 1, str(uuid4()))
        records = await counted(settings.kafka, case, 5)
    assert totals(records) == [4, 5]
