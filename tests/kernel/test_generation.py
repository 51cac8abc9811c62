"""A mark outside the store tells whether it is still the one it was, whoever starts first."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.kafka import kafka as running_kafka
from deploy.local.valkey import Valkey
from shared.kernel.machine import generation
from shared.kernel.machine.store import GENERATION
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.conftest import TOPICS, speaking
from tests.kernel.scene import add, alive, ready, total
from tests.kernel.tally.service import build
from tests.kernel.test_rebuild import rebuilt, waited_for
from tests.support.eventually import eventually


@pytest.fixture
def there(settings: Settings, stoppable: Valkey, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A store with a file of its own, marked in quick succession."""
    monkeypatch.setattr(generation, "MARK_EVERY", 0.1)
    return settings.model_copy(update={"redis_url": stoppable.url})


@asynccontextmanager
async def served(settings: Settings, *statuses: str) -> AsyncIterator[httpx.AsyncClient]:
    async with running_service(build, settings), speaking(settings) as client:
        await ready(client, *statuses)
        yield client


async def marked(settings: Settings, times: int = 2) -> None:
    """Kafka has been told so many marks more."""
    async with Redis.from_url(settings.redis_url) as redis:
        enough = int(await redis.get("tally:mark") or 0) + times

        async def so() -> bool:
            return int(await redis.get("tally:mark") or 0) > enough

        await eventually(so)


async def lost(client: httpx.AsyncClient, *cases: Any) -> None:
    """The store is called lost, its old cases are refused, and a new one begins."""

    async def said() -> bool:
        return "what the store knew" in (await client.get("/health/ready")).json().get("away", [])

    await eventually(said)
    for n, case in enumerate(cases):
        assert (await add(client, case, 1, f"after-{n}")).status_code == 503
    assert (await add(client, uuid7(), 1, "new")).json() == {"total": 1}


async def test_t11_an_emptied_store_is_told_from_a_new_one_by_whoever_starts_first(there: Settings) -> None:
    case = uuid7()
    async with served(there) as client:
        await add(client, case, 5, "first")
        await waited_for(there, case)
        await marked(there)
    async with Redis.from_url(there.redis_url) as redis:
        await redis.flushdb()
        async with served(there, "degraded") as client:
            await lost(client, case)
            assert "lost:" in str(await redis.get(GENERATION))
            await rebuilt(there)
            await ready(client)
            assert (await add(client, case, 1, "second")).json() == {"total": 6}


async def test_t11_an_older_copy_is_told_from_the_store_and_is_empty_before_it_is_rebuilt(
    there: Settings, stoppable: Valkey, tmp_path: Path
) -> None:
    early, late = uuid7(), uuid7()
    async with served(there) as client:
        await add(client, early, 5, "first")
        await waited_for(there, early)
        shutil.copytree(stoppable.folder / "appendonlydir", tmp_path / "copy")
        await marked(there)
        await add(client, early, 5, "second")
        await add(client, late, 1, "late")
        await waited_for(there, late)
    await stoppable.stop()
    shutil.rmtree(stoppable.folder / "appendonlydir")
    shutil.copytree(tmp_path / "copy", stoppable.folder / "appendonlydir")
    await stoppable.start()
    await stoppable.until_ready()
    async with served(there, "degraded") as client, Redis.from_url(there.redis_url) as redis:
        await lost(client, early, late)
        assert "older:" in str(await redis.get(GENERATION))
        await redis.flushdb()
        await rebuilt(there)
        await ready(client)
        assert [await total(client, case) for case in (early, late)] == [10, 1]


async def test_t11_a_store_that_nobody_ever_used_begins_as_usual(there: Settings, tmp_path: Path) -> None:
    async with running_kafka(tmp_path / "fresh") as fresh, Redis.from_url(there.redis_url) as redis:
        await redis.flushdb()
        await topics.create(fresh.bootstrap, TOPICS)
        async with served(there.model_copy(update={"kafka": fresh.bootstrap})) as client:
            assert (await add(client, uuid7(), 1, "one")).json() == {"total": 1}
            assert await redis.get(GENERATION) == b"0"


async def test_t11_while_nobody_can_vouch_for_an_empty_store_new_cases_begin_and_old_ones_do_not(
    there: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "VOUCH_WITHIN", 0.5)
    old = uuid7()
    async with running_kafka(tmp_path / "fresh") as fresh, Redis.from_url(there.redis_url) as redis:
        await redis.flushdb()
        await topics.create(fresh.bootstrap, TOPICS)
        await fresh.brokers[0].kill()
        unvouched = there.model_copy(update={"kafka": fresh.bootstrap})
        async with running_service(build, unvouched), speaking(there) as client:
            await alive(client)
            await lost(client, old)
            await fresh.brokers[0].start()
            await fresh.brokers[0].until_ready()

            async def vouched() -> bool:
                return await redis.get(GENERATION) == b"0"

            await eventually(vouched, 30)
            await ready(client)
