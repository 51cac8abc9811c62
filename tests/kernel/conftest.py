"""A running tally service on real Kafka and Valkey, with everything of its own."""

import base64
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from deploy.local import topics
from deploy.local.kafka import Cluster
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from shared.kernel.settings import Settings

WHOLE = {"retention.ms": "-1", "cleanup.policy": "delete"}
TOPICS = [
    *(topics.Topic(name, 12, WHOLE) for name in ("tally.given", "tally.counted")),
    *(topics.Topic(name, 3, WHOLE) for name in ("tally.given.dlq", "tally.counted.dlq")),
    topics.Topic("case.keys", 12, {"cleanup.policy": "compact"}),
]
PACKS = Path(__file__).parents[2] / "deploy" / "cities"


@pytest_asyncio.fixture(scope="session")
async def brokers(kafka: Cluster) -> str:
    await topics.create(kafka.bootstrap, TOPICS)
    return kafka.bootstrap


@pytest.fixture
def settings(brokers: str, valkey: Valkey, tmp_path: Path) -> Settings:
    keys = tmp_path / "master.keys"
    keys.write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    return Settings(
        redis_url=valkey.url, kafka=brokers, port=free(1)[0], master_keys=keys, cities=PACKS, instance="test"
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-1"}
    async with httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False) as made:
        yield made


Keyed = Callable[[], dict[str, str]]
