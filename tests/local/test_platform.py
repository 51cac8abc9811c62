"""The embedded Kafka and Valkey are the real ones, set so that what they acknowledge is kept."""

import asyncio
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.asyncio import Redis

from deploy.local import topics
from deploy.local.kafka import Cluster
from deploy.local.kafka import kafka as running_kafka
from deploy.local.trouble import Trouble
from deploy.local.valkey import Valkey
from deploy.local.valkey import valkey as running_valkey


async def test_what_is_said_to_kafka_is_heard(kafka: Cluster) -> None:
    topic = topics.Topic(f"test.{uuid.uuid4().hex}", partitions=1, settings={})
    await topics.create(kafka.bootstrap, [topic])
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(topic.name, b"answers saved", key=b"case")
    async with AIOKafkaConsumer(
        topic.name, bootstrap_servers=kafka.bootstrap, group_id=topic.name, auto_offset_reset="earliest"
    ) as consumer:
        heard = await consumer.getone()
    assert (heard.key, heard.value) == (b"case", b"answers saved")


async def test_valkey_writes_before_it_answers(valkey: Valkey) -> None:
    client = Redis.from_url(valkey.url, decode_responses=True)
    settings = await client.config_get("append*", "maxmemory-policy", "protected-mode", "save")
    await client.aclose()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["protected-mode"] == "yes"
    assert settings["save"] == ""


async def test_valkey_keeps_what_it_acknowledged_when_it_is_started_again(tmp_path: Path) -> None:
    for expected in (None, b"1"):
        async with running_valkey(tmp_path) as server:
            client = Redis.from_url(server.url)
            assert await client.get("seen") == expected
            await client.set("seen", 1)
            await client.aclose()


async def test_kafka_keeps_its_topics_when_it_is_killed_and_started_again(tmp_path: Path) -> None:
    async with running_kafka(tmp_path) as cluster:
        [broker] = cluster.brokers
        await topics.create(cluster.bootstrap, [topics.Topic("kept", partitions=2, settings={})])
        await broker.kill()
        await broker.start()
        await broker.until_ready()
        assert await topics.differences(cluster.bootstrap, [topics.Topic("kept", partitions=2, settings={})]) == ()


@pytest.mark.parametrize("name", ["目录 有空格 𠮷", "a=b#c!d:e\\f"])
async def test_t12_data_lies_in_the_folder_that_was_named_whatever_its_name(tmp_path: Path, name: str) -> None:
    """Else it lies elsewhere, is found by nobody, and is gone with the next clean-up."""
    home = tmp_path / name
    async with running_kafka(home / "kafka") as cluster, running_valkey(home / "valkey") as server:
        await topics.create(cluster.bootstrap, [topics.Topic("kept", partitions=1, settings={})])
        async with Redis.from_url(server.url) as client:
            await client.set("seen", 1)
    assert (home / "kafka" / "node-1" / "log" / "kept-0").is_dir()
    assert (home / "valkey" / "appendonlydir").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_t12_a_folder_with_a_comma_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="逗号") as refusal:
        async with running_kafka(tmp_path / "a,b"):
            pass
    assert "with a comma" in str(refusal.value)


async def test_t13_topics_are_settled_with_a_broker_that_does_not_answer_at_first(tmp_path: Path) -> None:
    async with running_kafka(tmp_path) as cluster:
        [broker] = cluster.brokers
        await broker.kill()
        settling = asyncio.create_task(topics.settle(cluster.bootstrap))
        await broker.start()
        assert await settling == ()


async def test_three_brokers_replicate_and_survive_the_loss_of_one(tmp_path: Path) -> None:
    async with running_kafka(tmp_path, nodes=3) as cluster:
        topic = topics.Topic("replicated", partitions=1, settings={})
        await topics.create(cluster.bootstrap, [topic], replicas=3)
        await cluster.brokers[2].kill()
        async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all") as producer:
            written = await producer.send_and_wait(topic.name, b"still here")
        assert written.offset == 0
