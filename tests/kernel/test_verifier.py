"""Settings that lose are named and keep the relay shut; what is merely away does not; mended, it opens."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka.admin import NewPartitions, NewTopic
from redis.asyncio import Redis

from deploy.local import topics
from deploy.local.ports import free
from deploy.local.valkey import Valkey
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.process import verifier
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from shared.kernel.process.verifier import SettingsVerifier, cramped_store, differing_clocks, weak_topic
from tests.kernel.scene import add, alive, counted, ready
from tests.kernel.tally.service import build
from tests.support.eventually import eventually

SAFE = {"flush.messages": "1", "retention.ms": "-1", "cleanup.policy": "delete"}


async def look(settings: Settings, *names: str) -> SettingsVerifier:
    """What one look finds, and whether it opened the gate."""
    looking = SettingsVerifier(KafkaBus(settings.kafka), names, asyncio.Event())
    store = ValkeyStore(settings.redis_url, lambda *_: None)
    work = [asyncio.create_task(store.run()), asyncio.create_task(looking.run(store))]

    async def seen() -> bool:
        return looking._gate.is_set() or bool(looking.weak)

    await eventually(seen, 5)
    for task in work:
        task.cancel()
    await asyncio.wait(work)
    return looking


async def topic(settings: Settings, **changed: str) -> str:
    name = f"tally.{uuid4().hex[:8]}"
    async with topics.administrator(settings.kafka) as admin:
        await admin.create_topics([NewTopic(name, 12, 1, topic_configs={**SAFE, **changed})])

        async def known() -> bool:
            return bool((await admin.describe_topics([name]))[0]["partitions"])

        await eventually(known)
    return name


@pytest.mark.parametrize(
    ("setting", "weak"),
    [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000"),
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("flush.messages", "9223372036854775807"),
        ("unclean.leader.election.enable", "true"),
    ],
)
async def test_a_topic_that_loses_is_named_with_what_to_set(settings: Settings, setting: str, weak: str) -> None:
    name = await topic(settings, **{setting: weak})
    found = await look(settings, name)
    [said] = found.weak
    assert said.startswith(f"topic {name}: {setting} is ")
    assert not found._gate.is_set()


async def test_a_topic_that_is_missing_is_named(settings: Settings) -> None:
    assert (await look(settings, "tally.nowhere")).weak == ["topic tally.nowhere does not exist; create it"]


@pytest.mark.parametrize(("replicas", "isr", "weak"), [(3, "1", True), (3, "2", False), (1, "1", False)])
def test_one_replica_in_sync_is_too_few_where_there_are_three(replicas: int, isr: str, weak: bool) -> None:
    found = {**SAFE, "unclean.leader.election.enable": "false", "min.insync.replicas": isr}
    assert bool(weak_topic("tally.given", found, replicas)) == weak


def test_case_keys_must_be_compacted() -> None:
    assert weak_topic("case.keys", {"cleanup.policy": "delete", "flush.messages": "1"}, 1)
    assert not weak_topic("case.keys", {"cleanup.policy": "compact", "flush.messages": "1"}, 1)


@pytest.mark.parametrize(
    ("setting", "weak"),
    [("appendfsync", "everysec"), ("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")],
)
async def test_a_store_that_loses_is_named(settings: Settings, stoppable: Valkey, setting: str, weak: str) -> None:
    there = settings.model_copy(update={"redis_url": stoppable.url})
    redis = Redis.from_url(stoppable.url)
    await redis.config_set(setting, weak)
    found = await look(there, await topic(settings))
    await redis.aclose()
    assert [said.split(":")[0] for said in found.weak] == ["store"]
    assert f"{setting} is {weak}" in found.weak[0]


async def test_weak_settings_shut_the_relay_and_not_the_door_until_they_are_mended(
    settings: Settings, client: httpx.AsyncClient, stoppable: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "AGAIN_AFTER", 0.2)
    case, redis = uuid4(), Redis.from_url(stoppable.url)
    await redis.config_set("appendfsync", "everysec")
    async with running_service(build, settings.model_copy(update={"redis_url": stoppable.url})) as tally:
        await ready(client, "degraded")
        assert (await add(client, case, 1, "one")).is_success
        state: dict[str, Any] = (await client.get("/health/ready")).json()
        assert state["weak"] == ["store: appendfsync is everysec, must be always"]
        assert not tally.relay.gate.is_set()
        await redis.config_set("appendfsync", "always")
        await counted(settings.kafka, case, 1)
        await ready(client)
    await redis.aclose()


async def test_t11_a_setting_that_is_altered_while_it_runs_is_said_and_stops_no_order(
    settings: Settings, client: httpx.AsyncClient, stoppable: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "LOOK_EVERY", 0.2)
    case, used = uuid4(), await topic(settings)
    there = settings.model_copy(update={"redis_url": stoppable.url})
    async with Redis.from_url(stoppable.url) as redis, running_service(build, there) as tally:
        tally.verifier._topics.append(used)
        await ready(client)
        await redis.config_set("appendfsync", "everysec")
        await redis.config_set("maxmemory", (await redis.info("memory"))["used_memory"] * 5 // 4)
        async with topics.administrator(settings.kafka) as admin:
            await admin.create_partitions({used: NewPartitions(16)})
        wanted = {
            "store: appendfsync is everysec, must be always",
            f"topic {used}: it has 16 partitions, must have 12 for ever",
        }

        async def said() -> bool:
            weak = set((await client.get("/health/ready")).json()["weak"])
            return weak > wanted and any(one.startswith("store: more than 70 %") for one in weak)

        await eventually(said)
        await ready(client, "degraded")
        assert (await add(client, case, 1, "one")).is_success
        await counted(settings.kafka, case, 1)
        await redis.config_set("appendfsync", "always")
        await redis.config_set("maxmemory", 0)

        async def mended() -> bool:
            weak: list[str] = (await client.get("/health/ready")).json()["weak"]
            return [one.split(":")[0] for one in weak] == [f"topic {used}"]

        await eventually(mended)


@pytest.mark.parametrize(
    ("info", "signal"),
    [
        ({"used_memory": "69", "maxmemory": "100"}, []),
        ({"used_memory": "70", "maxmemory": "100"}, ["warning"]),
        ({"used_memory": "90", "maxmemory": "100", "total_system_memory": "1000"}, ["alarm"]),
        ({"used_memory": "90", "maxmemory": "0", "total_system_memory": "100"}, ["alarm"]),
        ({"used_memory": "90"}, []),
    ],
)
def test_t11_a_store_whose_memory_ends_says_so_before(info: dict[str, str], signal: list[str]) -> None:
    assert [one.signal for one in cramped_store(info)] == signal


@pytest.mark.parametrize(
    ("told", "signal"),
    [(100.0, []), (97.0, ["warning"]), (105.5, []), (107.5, ["warning"]), (170.0, ["alarm"]), (30.0, ["alarm"])],
)
def test_t11_clocks_that_differ_are_said_and_a_slow_answer_is_no_difference(told: float, signal: list[str]) -> None:
    assert [one.signal for one in differing_clocks(100.0, told, 104.0)] == signal


async def test_what_is_away_is_not_called_weak(settings: Settings, client: httpx.AsyncClient) -> None:
    nowhere = f"127.0.0.1:{free(1)[0]}"
    async with running_service(build, settings.model_copy(update={"kafka": nowhere})) as tally:
        await alive(client)
        assert (await add(client, uuid4(), 1, "one")).is_success
        assert tally.verifier.weak == []
        assert not tally.relay.gate.is_set()
