"""The real Kafka and the real Valkey that tests share: on free ports, in folders of their own, gone afterwards."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio

from deploy.local.kafka import Cluster
from deploy.local.kafka import kafka as running_kafka
from deploy.local.valkey import Valkey
from deploy.local.valkey import valkey as running_valkey

os.environ["JINGYI_ENV"] = "development"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without the garbage collector: a finalizer in the midst of a parse upsets CPython 3.11."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def spare_loop() -> Iterator[None]:
    """pytest-asyncio puts aside the loop it finds, and where there is none makes one that nobody ever closes.

    What the garbage collector says of that one falls into any test, and CPython 3.11 cannot hear it while it parses.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest_asyncio.fixture(scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One broker for the whole session; `kafka.bootstrap` is its address. Use topics and groups of your own."""
    async with running_kafka(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session")
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Valkey]:
    """One server for the whole session; `valkey.url` is its address. Use key prefixes of your own."""
    async with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server
