"""Outbox → Kafka: whatever dies or is away, every event arrives, of each case in its order, known by its id."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID, uuid4

import httpx
from redis.asyncio import Redis

from deploy.local.kafka import Cluster
from deploy.local.ports import free
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.conftest import speaking
from tests.kernel.scene import (
    CITY,
    add,
    alive,
    counted,
    deaf,
    environment,
    header,
    once,
    process,
    ready,
    stopped,
    totals,
)
from tests.kernel.tally.service import build
from tests.support.eventually import eventually


async def test_what_was_learnt_with_kafka_dead_arrives_in_order_once_it_is_back(
    frail_settings: Settings, client: httpx.AsyncClient, frail: Cluster
) -> None:
    case = uuid4()
    async with running_service(build, frail_settings):
        await ready(client)
        await add(client, case, 1, "before")
        async with stopped(frail):
            answers = [await add(client, case, 1, f"during-{nth}") for nth in range(20)]
        await add(client, case, 1, "after")
        records = await counted(frail_settings.kafka, case, 22, 40)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert totals(once(records)) == list(range(1, 23))


async def test_a_successor_sends_and_rings_for_what_a_killed_process_had_committed_with_kafka_dead(
    frail_settings: Settings, client: httpx.AsyncClient, frail: Cluster, tmp_path: Path
) -> None:
    case, log = uuid4(), tmp_path / "log"
    async with AsyncExitStack() as later:
        async with stopped(frail):
            async with process(frail_settings, log, environment(frail_settings)) as killed:
                await alive(client)
                for nth in range(5):
                    assert (await add(client, case, 1, f"{nth}")).is_success
                killed.signal(signal.SIGKILL)
                await killed.wait()
            await later.enter_async_context(running_service(build, frail_settings))
            await alive(client)
            await rung(client, case)
        records = await counted(frail_settings.kafka, case, 5, 40)
    assert totals(once(records)) == [1, 2, 3, 4, 5]


async def rung(client: httpx.AsyncClient, case: UUID) -> None:
    """Its deadline has passed and was noticed: without Kafka, and set by another process."""

    async def so() -> bool:
        return bool((await client.get(f"/cities/{CITY}/tallies/{case}")).json().get("waited"))

    await eventually(so, 8)


async def test_what_a_killed_process_had_sent_and_not_deleted_comes_again_under_the_same_ids(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    case = uuid4()
    never = environment(settings, TALLY_DELETE_EVERY="60")
    async with process(settings, tmp_path / "log", never) as killed:
        await alive(client)
        for nth in range(3):
            await add(client, case, 1, f"{nth}")
        await counted(settings.kafka, case, 3)
        killed.signal(signal.SIGKILL)
        await killed.wait()
    async with running_service(build, settings):
        await alive(client)
        await add(client, case, 1, "last")
        records = await counted(settings.kafka, case, 4)
    ids = [header(record, "ce_id") for record in records if header(record, "ce_type") == "cn.jingyi.Counted"]
    assert ids[:3] == ids[3:6]
    assert totals(once(records)) == [1, 2, 3, 4]


async def test_only_the_holder_of_the_lease_sends_and_another_takes_over_when_it_is_killed(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    case = uuid4()
    other = settings.model_copy(update={"port": free(1)[0], "instance": "other"})
    async with process(settings, tmp_path / "log", environment(settings)) as holder:
        await alive(client)
        await add(client, uuid4(), 1, "warm")
        await leased(settings)
        async with running_service(build, other) as second, speaking(other) as there:
            await alive(there)
            await add(there, case, 1, "one")
            await counted(settings.kafka, case, 1)
            assert not second.relay.leases.held_tags()
            await add(client, case, 1, "two")
            holder.signal(signal.SIGKILL)
            await add(there, case, 1, "three")
            records = await counted(settings.kafka, case, 3, within=6)
            assert second.relay.leases.held_tags()
    assert totals(once(records)) == [1, 2, 3]


async def leased(settings: Settings) -> None:
    async with Redis.from_url(settings.redis_url) as redis:

        async def so() -> bool:
            return bool(await redis.keys("*:lease"))

        await eventually(so)


async def test_a_case_that_two_processes_move_at_once_is_told_in_its_order(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    other = settings.model_copy(update={"port": free(1)[0], "instance": "other"})
    async with running_service(build, settings), running_service(build, other), speaking(other) as there:
        await alive(client)
        await alive(there)
        for nth in range(12):
            await add(client if nth % 3 else there, case, 1, f"{nth}")
        records = await counted(settings.kafka, case, 12)
    assert totals(once(records)) == list(range(1, 13))


async def test_an_event_whose_commit_lost_its_reply_is_told_before_the_next_one(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with (
        deaf(settings.redis_url) as (url, hear),
        running_service(build, settings.model_copy(update={"redis_url": url})),
    ):
        await alive(client)
        await add(client, case, 1, "one")
        hear(False)
        lost = await add(client, case, 1, "two")
        hear(True)
        await until_heard(client, case)
        records = await counted(settings.kafka, case, 3)
    assert lost.status_code == 503
    assert totals(once(records)) == [1, 2, 3]


async def until_heard(client: httpx.AsyncClient, case: UUID) -> None:
    async def so() -> bool:
        return (await add(client, case, 1, "three")).is_success

    await eventually(so)


async def test_nothing_stays_behind_in_the_outbox(settings: Settings, client: httpx.AsyncClient) -> None:
    redis = Redis.from_url(settings.redis_url)
    async with running_service(build, settings):
        await alive(client)
        await asyncio.gather(*(add(client, uuid4(), 1, f"{nth}") for nth in range(30)))

        async def empty() -> bool:
            names = [name async for name in redis.scan_iter("*:outbox")]
            return bool(names) and not any([await redis.xlen(name) for name in names])

        await eventually(empty)
    await redis.aclose()


async def test_a_city_whose_pack_is_missing_here_is_told_all_the_same(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await alive(client)
        for nth in range(16):
            strange = f"99{nth:02d}00"
            body = {"case": str(case), "city": strange, "amount": 1}
            path = f"/cities/{CITY}/tallies/{case}/additions"
            answer = await client.post(path, json=body, headers={"idempotency-key": strange})
            assert answer.json() == {"total": 1}
        await alive(client)
