"""The whole system, once for all journeys."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.journeys.world import World
from tests.journeys.world import world as whole


@pytest_asyncio.fixture(scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Kafka, Valkey, four services, two desks and the collector, shared by all journeys."""
    async with whole(tmp_path_factory.mktemp("system")) as made:
        yield made


@pytest_asyncio.fixture
async def world(system: World) -> World:
    """The system with prompt desks."""
    await system.desks_behave()
    return system
