"""The topics of deploy/topics.yaml: made where they are missing, compared where they exist."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from deploy.local.trouble import Trouble

TRIES, AGAIN_AFTER = 10, 2.0
"""How often a broker on a host that may be busy is asked for the same, and after how many seconds."""

LIST = Path(__file__).parents[1] / "topics.yaml"


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    settings: Mapping[str, str]

    def wanted(self, replicas: int) -> dict[str, str]:
        """With one replica a record is on disk before it is acknowledged; with three, on two machines."""
        safety = {"flush.messages": "1"} if replicas == 1 else {"min.insync.replicas": "2"}
        return {**self.settings, **safety, "unclean.leader.election.enable": "false"}


@dataclass(frozen=True)
class Difference:
    topic: str
    setting: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.setting} is {self.found}, wanted {self.wanted}"


def listed(source: Path = LIST) -> list[Topic]:
    read = yaml.safe_load(source.read_text())["topics"]
    return [Topic(name, topic["partitions"], topic["settings"]) for name, topic in read.items()]


async def settle(bootstrap: str, topics: Sequence[Topic] | None = None, *, replicas: int = 1) -> tuple[Difference, ...]:
    """Make what is missing and name what differs. Nothing that exists is changed; a busy broker is asked again."""
    chosen, tries = listed() if topics is None else topics, TRIES
    while True:
        tries -= 1
        try:
            await create(bootstrap, chosen, replicas=replicas)
            found = await differences(bootstrap, chosen, replicas=replicas)
        except Trouble as trouble:
            if not tries or not isinstance(trouble.__cause__, KafkaError):
                raise
        else:
            young = any(one.setting == "partitions" and one.found == "0" for one in found)
            if not (young and tries):
                return found
        await asyncio.sleep(AGAIN_AFTER)


async def create(bootstrap: str, topics: Iterable[Topic], *, replicas: int = 1) -> None:
    wanted = [NewTopic(t.name, t.partitions, replicas, topic_configs=t.wanted(replicas)) for t in topics]
    async with administrator(bootstrap) as admin:
        existing = set(await admin.list_topics())
        answer = await admin.create_topics([topic for topic in wanted if topic.name not in existing])
    for name, code, reason in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise Trouble(f"Kafka would not create topic {name}: {reason or for_code(code).__name__}.")


async def differences(bootstrap: str, topics: Sequence[Topic], *, replicas: int = 1) -> tuple[Difference, ...]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    async with administrator(bootstrap) as admin:
        described = await admin.describe_topics([topic.name for topic in topics])
        configured = await admin.describe_configs(resources)
    partitions = {topic["topic"]: str(len(topic["partitions"])) for topic in described}
    settings = {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in configured
        for resource in answer.resources
    }
    return tuple(
        Difference(topic.name, setting, value, found)
        for topic in topics
        for setting, value, found in compared(topic, replicas, partitions[topic.name], settings[topic.name])
        if value != found
    )


def compared(
    topic: Topic, replicas: int, partitions: str, settings: Mapping[str, str]
) -> Iterable[tuple[str, str, str]]:
    yield "partitions", str(topic.partitions), partitions
    for setting, value in topic.wanted(replicas).items():
        yield setting, value, settings.get(setting, "not set")


@asynccontextmanager
async def administrator(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=15_000)
    try:
        await admin.start()
        yield admin
    except KafkaError as refusal:
        raise Trouble(f"Kafka at {bootstrap} refused: {type(refusal).__name__}; see its log.") from refusal
    finally:
        await admin.close()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kafka", required=True, help="host:port,host:port")
    arguments.add_argument("--replicas", type=int, default=3)
    chosen = arguments.parse_args()
    try:
        found = asyncio.run(settle(chosen.kafka, replicas=chosen.replicas))
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    for difference in found:
        print(difference, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
