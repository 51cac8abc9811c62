"""A deadline fires once, whoever died, whatever was away, and whichever way the wall clock jumped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.local.valkey import Valkey
from shared.kernel import clock
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import CITY, about, add, alive, header, ready, said
from tests.kernel.tally import service
from tests.kernel.tally.service import UNLUCKY, Waited, build
from tests.support.eventually import eventually


async def waited(client: httpx.AsyncClient, case: UUID) -> int:
    return int((await client.get(f"/cities/{CITY}/tallies/{case}")).json().get("waited", 0))


async def fired_once(client: httpx.AsyncClient, case: UUID, within: float = 5) -> None:
    async def so() -> bool:
        return await waited(client, case) == 1

    await eventually(so, within)
    await asyncio.sleep(1.2)
    assert await waited(client, case) == 1


@asynccontextmanager
async def away(store: Valkey) -> AsyncIterator[None]:
    await store.stop()
    try:
        yield
    finally:
        await store.start()
        await store.until_ready()


async def test_a_deadline_fires_once_and_says_so_once(settings: Settings, client: httpx.AsyncClient) -> None:
    case = uuid4()

    def told(found: list[Any]) -> bool:
        return bool(rings(found))

    def rings(found: list[Any]) -> list[Any]:
        return [r for r in about(found, case) if header(r, "ce_type") == Waited.type_name()]

    async with running_service(build, settings):
        await alive(client)
        await add(client, case, 1, "one")
        await fired_once(client, case, within=1.5)
        assert len(rings(await said(settings.kafka, "tally.counted", told))) == 1


async def test_a_deadline_that_passed_while_the_store_was_away_fires_when_it_is_back(
    settings: Settings, client: httpx.AsyncClient, stoppable: Valkey
) -> None:
    case = uuid4()
    async with running_service(build, settings.model_copy(update={"redis_url": stoppable.url})):
        await ready(client)
        await add(client, case, 1, "one")
        async with away(stoppable):
            await asyncio.sleep(0.8)
        await fired_once(client, case)


async def test_a_wall_clock_that_jumps_back_an_hour_does_not_delay_it(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case, back = uuid4(), timedelta()

    def jumping() -> datetime:
        return clock.now() - back

    async with running_service(build, settings, jumping):
        await ready(client, "ready", "degraded")
        await add(client, case, 1, "one")
        back = timedelta(hours=1)
        await fired_once(client, case, within=2)


@pytest.mark.parametrize("jump", [timedelta(minutes=10), timedelta(hours=1)])
async def test_a_wall_clock_that_jumps_ahead_does_not_fire_it_early(
    settings: Settings, client: httpx.AsyncClient, jump: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE", timedelta(seconds=2))
    case, ahead = uuid4(), timedelta()

    def jumping() -> datetime:
        return clock.now() + ahead

    async with running_service(build, settings, jumping):
        await ready(client, "ready", "degraded")
        await add(client, case, 1, "one")
        ahead = jump
        await asyncio.sleep(1.4)
        assert await waited(client, case) == 0
        await fired_once(client, case, within=1.5)


async def test_a_deadline_found_in_the_store_passes_by_wall_time(
    settings: Settings, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PATIENCE", timedelta(minutes=1))
    case, ahead = uuid4(), timedelta()
    async with running_service(build, settings, lambda: clock.now() + timedelta(hours=1)):
        await ready(client, "ready", "degraded")
        await add(client, case, 1, "one")
    async with running_service(build, settings, lambda: clock.now() + ahead):
        await ready(client, "ready", "degraded")
        await asyncio.sleep(1.2)
        assert await waited(client, case) == 0
        ahead = timedelta(hours=1, minutes=2)
        await fired_once(client, case, within=2.5)


async def test_a_deadline_set_after_a_jump_back_is_as_long_as_any_and_survives_the_jump_forth(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case, back = uuid4(), timedelta(hours=1)

    def jumping() -> datetime:
        return clock.now() - back

    async with running_service(build, settings, jumping):
        await ready(client, "ready", "degraded")
        await add(client, case, 1, "one")
        back = timedelta()
        await fired_once(client, case, within=2)


async def test_a_moment_that_comes_again_because_the_clock_went_back_fires_again(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    case, stands_still = uuid4(), clock.now()
    async with running_service(build, settings, lambda: stands_still):
        await alive(client)
        await add(client, case, 1, "one")
        await fired_once(client, case, within=2)
        await add(client, case, 1, "two")

        async def again() -> bool:
            return await waited(client, case) == 2

        await eventually(again, 2)


async def test_d2_an_instance_that_fails_at_its_deadline_is_set_aside_and_every_other_lives(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    unlucky, other = uuid4(), uuid4()

    def put_aside(found: list[Any]) -> list[Any]:
        return about(found, unlucky)

    async with running_service(build, settings):
        await alive(client)
        await add(client, unlucky, UNLUCKY, "one")
        await add(client, other, 1, "two")
        letter = put_aside(await said(settings.kafka, "tally.counted.dlq", lambda found: bool(put_aside(found))))[0]
        assert (header(letter, "dead_letter_reason"), header(letter, "dead_letter_service")) == ("deadline", "tally")
        assert header(letter, "dead_letter_origin") == f"tally/{unlucky}"
        await fired_once(client, other)
        await add(client, unlucky, 1, "three")
        await fired_once(client, unlucky)  # what moves it on wakes it again
