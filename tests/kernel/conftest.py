"""A running tally service on real Kafka and Valkey, with everything of its own."""

import base64
import os
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis

from deploy.local import topics
from deploy.local.kafka import Cluster
from deploy.local.kafka import kafka as running_kafka
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from deploy.local.valkey import valkey as running_valkey
from shared.kernel import trace
from shared.kernel.process.settings import Settings
from tests.kernel.scene import PEERS
from tests.support.generations import begin_generation

WHOLE = {"retention.ms": "-1", "cleanup.policy": "delete"}
TOPICS = [
    *(topics.Topic(name, 12, WHOLE) for name in ("tally.given", "tally.counted")),
    *(topics.Topic(name, 3, WHOLE) for name in ("tally.given.dlq", "tally.counted.dlq")),
    topics.Topic("case.keys", 12, {"cleanup.policy": "compact"}),
]
PACKS = Path(__file__).parents[2] / "deploy" / "cities"

_databases = count(1)


@pytest_asyncio.fixture(scope="session")
async def brokers(kafka: Cluster) -> str:
    await topics.create(kafka.bootstrap, TOPICS)
    return kafka.bootstrap


@pytest_asyncio.fixture(scope="session")
async def frail(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A broker that tests stop, kill and start again; each leaves it running."""
    async with running_kafka(tmp_path_factory.mktemp("frail")) as cluster:
        await topics.create(cluster.bootstrap, TOPICS)
        yield cluster


@pytest_asyncio.fixture
async def stoppable(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A store that a test may stop and start again."""
    async with running_valkey(tmp_path / "valkey") as server:
        begin_generation(server.url)
        yield server


@pytest.fixture
def settings(brokers: str, valkey: Valkey, tmp_path: Path) -> Settings:
    keys = tmp_path / "master.keys"
    keys.write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")
    url = f"{valkey.url.rsplit('/', 1)[0]}/{next(_databases) % 16}"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    begin_generation(url)
    return Settings(
        redis_url=url,
        kafka=brokers,
        port=free(1)[0],
        master_keys=keys,
        cities=PACKS,
        instance="test",
        peer_tokens=PEERS,
    )


@pytest.fixture
def frail_settings(settings: Settings, frail: Cluster) -> Settings:
    return settings.model_copy(update={"kafka": frail.bootstrap})


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with speaking(settings) as made:
        yield made


@pytest_asyncio.fixture(scope="session")
async def provided() -> InMemorySpanExporter:
    """Every span that this process ends, from now on."""
    exporter, provider = InMemorySpanExporter(), trace.tracer_provider("tally", None)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(provided: InMemorySpanExporter) -> InMemorySpanExporter:
    provided.clear()
    return provided


def speaking(settings: Settings) -> httpx.AsyncClient:
    """A client of the tally at these settings, with the staff token and a seat's number."""
    headers = {"authorization": f"Bearer {settings.api_token.get_secret_value()}", "x-actor": "seat-1"}
    return httpx.AsyncClient(base_url=settings.base_url, headers=headers, trust_env=False, timeout=10)
