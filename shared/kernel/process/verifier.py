"""Settings that are proven to lose or double: the relay stays shut while one of them holds; silence proves nothing."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from shared.kernel.errors import Unavailable
from shared.kernel.log.bus import Bus
from shared.kernel.machine.store import Store
from shared.kernel.machine.vault import KEYS_TOPIC

AGAIN_AFTER = 2.0
"""Seconds until unreachable or weak settings are looked at again."""

STORE_WANTS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
"""What makes the store's yes mean fsynced (Redis persistence documentation; kill -9 and disk-full trials)."""

TOPIC_WANTS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
}
"""What keeps the log of record whole, for every topic we speak or hear on: its key is the case, so compacting loses."""

KEYS_WANTS = {"cleanup.policy": "compact", "unclean.leader.election.enable": "false"}
"""What keeps the newest wrapped key of every case."""

log = structlog.get_logger()


def weak_store(found: Mapping[str, str]) -> list[str]:
    """Each setting of the store that loses what was accepted, in words that say what to set."""
    # What a managed store does not show is left to whoever runs it.
    return [f"store: {k} is {found[k]}, must be {v}" for k, v in STORE_WANTS.items() if k in found and found[k] != v]


def weak_topic(topic: str, found: Mapping[str, str], replicas: int) -> list[str]:
    """Each setting of a topic that loses acknowledged records."""
    wants = dict(KEYS_WANTS if topic == KEYS_TOPIC else TOPIC_WANTS)
    if replicas == 1:  # no other broker has it: only the disk makes an acknowledgement true
        wants["flush.messages"] = "1"
    weak = [f"topic {topic}: {k} is {found[k]}, must be {v}" for k, v in wants.items() if found.get(k, v) != v]
    if replicas > 1 and int(found.get("min.insync.replicas", "2")) < 2:
        weak.append(f"topic {topic}: min.insync.replicas is {found['min.insync.replicas']}, must be 2 or more")
    return weak


class SettingsVerifier:
    """Looks until everything it needs has been seen and nothing of it is weak, then opens the gate."""

    def __init__(self, bus: Bus, topics: Iterable[str], gate: asyncio.Event) -> None:
        self._bus = bus
        self._topics = sorted(topics)
        self._gate = gate
        self.weak: list[str] = []

    async def run(self, store: Store) -> None:
        """Return when the gate is open."""
        while not self._gate.is_set():
            with suppress(Unavailable, RedisError, KafkaError, OSError, TimeoutError):
                self.weak = [*await self._store(store), *await self._kafka()]
                if not self.weak:
                    self._gate.set()
                    return
                log.error("weak_settings", refused=self.weak)
            await asyncio.sleep(AGAIN_AFTER)

    async def _store(self, store: Store) -> list[str]:
        found: list[bytes] = await store.ask("CONFIG", "GET", *STORE_WANTS)
        texts = [text.decode() for text in found]
        return weak_store(dict(zip(texts[::2], texts[1::2], strict=True)))

    async def _kafka(self) -> list[str]:
        admin = self._bus.admin()
        try:
            await admin.start()
            described = await admin.describe_topics(self._topics)
            missing = [f"topic {t['topic']} does not exist; create it" for t in described if not t["partitions"]]
            replicas = {t["topic"]: len(t["partitions"][0]["replicas"]) for t in described if t["partitions"]}
            resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in replicas]
            weak = list(missing)
            for reply in await admin.describe_configs(resources):
                for _, _, _, topic, entries in reply.resources:
                    weak += weak_topic(topic, {entry[0]: entry[1] for entry in entries}, replicas[topic])
            return weak
        finally:
            await admin.close()
