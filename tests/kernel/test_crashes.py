"""A process that ends: nothing is lost or counted twice, and a record that ends it does so three times at the most."""

import asyncio
import signal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from redis.asyncio import Redis

from deploy.local.process import Process
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import (
    add,
    counted,
    environment,
    give,
    header,
    mouth,
    once,
    process,
    ready,
    said,
    total,
    totals,
    whole,
)
from tests.kernel.tally.__main__ import KILLS, RAISES, WAITS
from tests.kernel.tally.service import build
from tests.support.eventually import eventually


async def ends_until_quiet(settings: Settings, log: Path, client: httpx.AsyncClient, case: UUID, want: int) -> int:
    """Start the tally again whenever it ends, until it has counted `want` for the case; how often it ended."""
    ends = 0
    async with asyncio.timeout(60):
        while True:
            async with process(settings, log, environment(settings)) as running:
                if await lives_until(running, client, case, want):
                    running.signal(signal.SIGTERM)
                    await running.wait()
                    return ends
                ends += 1


async def lives_until(running: Process, client: httpx.AsyncClient, case: UUID, want: int) -> bool:
    while running.returncode is None:
        try:
            if await total(client, case) >= want:
                return True
        except (httpx.TransportError, KeyError):
            pass
        await asyncio.sleep(0.05)
    return False


async def dead(settings: Settings, case: UUID) -> Any:
    def here(found: list[Any]) -> bool:
        return any(record.key == str(case).encode() for record in found)

    found = await said(settings.kafka, "tally.given.dlq", here)
    [record] = [record for record in found if record.key == str(case).encode()]
    return record


@pytest.mark.parametrize("way", [RAISES, KILLS])
async def test_a_record_that_ends_the_process_does_so_three_times_and_then_the_rest_is_heard(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path, way: int
) -> None:
    poison, other = uuid4(), uuid4()
    async with mouth(settings.kafka) as producer:
        for amount in (1, way, 2):
            await give(producer, poison if amount == way else other, amount)
        await give(producer, poison, 5)
    ends = await ends_until_quiet(settings, tmp_path / "log", client, poison, 5)
    assert ends in {3, 4}  # an end before the partition was marked as heard is not counted
    assert header(await dead(settings, poison), "dead_letter_reason") == "crash"
    async with running_service(build, settings):
        assert totals(once(await counted(settings.kafka, other, 3))) == [1, 3]


async def test_under_kill_9_again_and_again_five_hundred_records_are_each_counted_once_and_none_is_put_aside(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    waiting, cases = uuid4(), [uuid4() for _ in range(25)]
    async with mouth(settings.kafka) as producer:
        await give(producer, waiting, WAITS)
        streaming = asyncio.create_task(stream(producer, cases, 20))
        for nth in range(4):
            async with process(settings, tmp_path / "log", environment(settings)) as killed:
                await lives_until(killed, client, cases[0], nth + 1)
                await asyncio.sleep(0.3)
                killed.signal(signal.SIGKILL)
                await killed.wait()
        await streaming
    async with running_service(build, settings):
        await ready(client)
        assert totals(await counted(settings.kafka, waiting, WAITS)) == [WAITS]
        for case in cases:
            await eventually(lambda case=case: is_total(client, case, 20))  # type: ignore[misc]
    dead = {record.key for record in await whole(settings.kafka, "tally.given.dlq")}
    assert dead & {str(case).encode() for case in (waiting, *cases)} == set()


async def test_a_process_with_a_lasting_name_hears_again_before_the_session_of_the_killed_one_has_ended(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    case, log, clock = uuid4(), tmp_path / "log", asyncio.get_running_loop().time
    lasting = environment(settings, JINGYI_INSTANCE="lasting")
    async with mouth(settings.kafka) as producer:
        await give(producer, case, 1)
        async with process(settings, log, lasting) as killed:
            assert await lives_until(killed, client, case, 1)
            killed.signal(signal.SIGKILL)
            await killed.wait()
        ended = clock()
        await give(producer, case, 1)
        async with process(settings, log, lasting) as again:
            assert await lives_until(again, client, case, 2)
            assert clock() - ended < 4.4  # a session lasts 6 s, and its last heartbeat is 1.5 s old at the most


async def is_total(client: httpx.AsyncClient, case: UUID, want: int) -> bool:
    found = await total(client, case)
    assert found <= want
    return found == want


async def stream(producer: Any, cases: list[UUID], each: int) -> None:
    for _ in range(each):
        await asyncio.gather(*(give(producer, case, 1) for case in cases))
        await asyncio.sleep(0.2)


async def test_an_offset_is_committed_only_when_everything_before_it_is_done(
    settings: Settings, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    waiting, later = uuid4(), uuid4()
    async with mouth(settings.kafka) as producer, process(settings, tmp_path / "log", environment(settings)):
        await ready(client)
        await give(producer, waiting, WAITS)
        for _ in range(5):
            await give(producer, later, 1)
        await counted(settings.kafka, later, 5)
        await asyncio.sleep(0.5)
    async with running_service(build, settings):
        await ready(client)
        assert totals(await counted(settings.kafka, waiting, WAITS)) == [WAITS]
        await add(client, later, 1, "more")
        assert totals(once(await counted(settings.kafka, later, 6))) == [1, 2, 3, 4, 5, 6]


async def test_a_process_that_stops_properly_leaves_no_suspicion(settings: Settings, client: httpx.AsyncClient) -> None:
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        case = uuid4()
        await give(producer, case, 1)
        await counted(settings.kafka, case, 1)
    redis = Redis.from_url(settings.redis_url)

    async def unmarked() -> bool:
        return not await redis.exists("tally:heard", "tally:suspects")

    await eventually(unmarked, 2)
    await redis.aclose()
