"""The real store and bus, and the simulated ones, behind the same names: what holds of one holds of the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from deploy.local import topics
from deploy.local.kafka import Cluster
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from shared.kernel.clock import now
from shared.kernel.log.bus import Bus
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.shards import generation_name
from shared.kernel.machine.store import OutboxRow, Store
from shared.kernel.machine.valkey import ValkeyStore
from tests.services.test_store_refusals import refusing
from tests.simulation import bus, store

Refusing = Callable[[str], AbstractContextManager[None]]
"""Inside, the store refuses every write in that way."""

BOTH = ("real", "simulated")
PROMISED = [topics.Topic("promised", bus.PARTITIONS, {"retention.ms": "-1"})]


@dataclass(frozen=True)
class Kept:
    """A store at work, and what it has told its relay."""

    store: Store
    refusing: Refusing
    told: list[tuple[str, tuple[bytes, ...], tuple[OutboxRow, ...], bool]] = field(default_factory=list)


@asynccontextmanager
async def at_work(made: Callable[[Any], Store], refusing: Refusing) -> AsyncIterator[Kept]:
    """The store that `made` makes, told to a list."""
    told: list[Any] = []
    kept = Kept(made(lambda *news: told.append(news)), refusing, told)
    work = asyncio.create_task(kept.store.run())
    try:
        yield kept
    finally:
        work.cancel()
        await asyncio.wait([work])


def server() -> store.Server:
    """A simulated one in real time."""
    way = store.Way(Random(1))
    return store.Server(store.Valkey(lambda: now().timestamp()), way, asyncio.get_running_loop(), lambda *_: None)


@contextmanager
def refused(simulated: store.Server, how: str) -> Iterator[None]:
    """As `refusing` has it of a real one."""
    simulated.valkey.refuses = how.split(" ")[0]
    yield
    simulated.valkey.refuses = ""


@pytest.fixture(params=BOTH)
async def kept(request: pytest.FixtureRequest, valkey: Valkey) -> AsyncIterator[Kept]:
    """An empty store that knows the Functions."""
    if request.param == "real":
        url = f"{valkey.url.rsplit('/', 1)[0]}/11"
        with Redis.from_url(url) as redis:
            redis.flushdb()
        making = at_work(lambda told: ValkeyStore(url, told), partial(refusing, valkey))
    else:
        simulated = server()
        making = at_work(lambda told: simulated.store("", told), partial(refused, simulated))
    async with making as made:
        await made.store.load()
        await made.store.ask("SET", generation_name("{s01}"), 0)
        yield made


@pytest.fixture(params=BOTH)
async def nobody(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    """A store where nobody listens."""
    gone = server()
    gone.stop()
    url = f"redis://127.0.0.1:{free(1)[0]}/0"
    real = request.param == "real"
    making = at_work(lambda told: ValkeyStore(url, told) if real else gone.store("", told), partial(refused, gone))
    async with making as made:
        yield made


@pytest.fixture(params=BOTH)
async def brokers(request: pytest.FixtureRequest, kafka: Cluster) -> Bus:
    """A bus with the topic `promised`."""
    if request.param == "real":
        await topics.create(kafka.bootstrap, PROMISED)
        return KafkaBus(kafka.bootstrap)
    return bus.Kafka(asyncio.get_running_loop(), bus.Way(Random(1)), lambda _: None).bus("")


@pytest.fixture
def group() -> str:
    return f"group-{uuid4()}"
