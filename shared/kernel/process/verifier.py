"""Settings that are proven to lose or double, and what may soon: looked at for ever; silence proves nothing.

The relay stays shut until nothing is found that loses.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain

import structlog
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from shared.kernel import clock
from shared.kernel.errors import Unavailable
from shared.kernel.log.bus import PARTITIONS, Bus
from shared.kernel.machine.store import Store
from shared.kernel.machine.vault import KEYS_TOPIC

AGAIN_AFTER = 2.0
"""Seconds until unreachable or weak settings are looked at again, while the gate is shut."""

LOOK_EVERY = 60.0
"""Seconds between looks once it is open: whoever changes a setting of what runs is told within so many."""

MEMORY_SHARES = ((90, "alarm"), (70, "warning"))
"""Hundredths of the store's memory, and what is said beyond them."""

CLOCKS_APART = ((60, "alarm"), (2, "warning"))
"""Seconds, and what is said beyond them."""

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


@dataclass(frozen=True)
class Weakness:
    """What is weak, in words that say what to set; `loses`: what was accepted or acknowledged can be lost by it."""

    what: str
    signal: str = "warning"
    loses: bool = False


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


def cramped_store(info: Mapping[str, str]) -> list[Weakness]:
    """How near the store's memory is to its end: a full store refuses every call."""
    used, most = (
        int(info.get("used_memory", 0)),
        int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0)),
    )
    for share, signal in MEMORY_SHARES:
        if most and used * 100 >= most * share:
            return [
                Weakness(f"store: more than {share} % of its {most >> 20} MiB memory is used; give it more", signal)
            ]
    return []


def differing_clocks(asked: float, told: float, answered: float) -> list[Weakness]:
    """How far the store's clock, read between two moments of ours, is from ours at the least."""
    apart = max(told - answered, asked - told)
    for seconds, signal in CLOCKS_APART:
        if apart > seconds:
            return [Weakness(f"clock: ours and the store's are more than {seconds} s apart; set both by NTP", signal)]
    return []


def spread_topic(topic: str, partitions: int) -> list[Weakness]:
    """A case whose events lie in two partitions may be heard out of order for a while."""
    if partitions == PARTITIONS or topic.endswith(".dlq"):
        return []
    return [Weakness(f"topic {topic}: it has {partitions} partitions, must have {PARTITIONS} for ever")]


class SettingsVerifier:
    """Looks for ever, and opens the gate once everything it needs has been seen and nothing of it loses.

    What becomes weak later is said and shown, and the gate stays open: nothing that protects may stop an order.
    """

    def __init__(
        self, bus: Bus, topics: Iterable[str], gate: asyncio.Event, now: Callable[[], datetime] = clock.now
    ) -> None:
        self._bus = bus
        self._topics = sorted(topics)
        self._gate = gate
        self._now = now
        self._found: dict[str, list[Weakness]] = {}

    @property
    def weak(self) -> list[str]:
        """In words that say what to set."""
        return [one.what for one in chain(*self._found.values())]

    async def run(self, store: Store) -> None:
        """Look again soon while the gate is shut, and each minute from then on."""
        while True:
            for source, look in (("store", partial(self._store, store)), ("kafka", self._kafka)):
                with suppress(Unavailable, RedisError, KafkaError, OSError, TimeoutError):
                    self._note(source, await look())
            if len(self._found) == 2 and not any(one.loses for one in chain(*self._found.values())):
                self._gate.set()
            await asyncio.sleep(LOOK_EVERY if self._gate.is_set() else AGAIN_AFTER)

    def _note(self, source: str, found: list[Weakness]) -> None:
        before, self._found[source] = self._found.get(source, []), found
        for one in found:
            if one not in before:
                log.error("weak_setting", what=one.what, signal=one.signal)
        for one in before:
            if one not in found:
                log.info("weak_setting_mended", what=one.what)

    async def _store(self, store: Store) -> list[Weakness]:
        found: list[bytes] = await store.ask("CONFIG", "GET", *STORE_WANTS)
        texts = [text.decode() for text in found]
        weak = weak_store(dict(zip(texts[::2], texts[1::2], strict=True)))
        info: bytes = await store.ask("INFO", "memory")
        asked = self._now().timestamp()
        seconds, micros = await store.ask("TIME")
        return [
            *(Weakness(said, "alarm", loses=True) for said in weak),
            *cramped_store(dict(line.split(":", 1) for line in info.decode().split() if ":" in line)),
            *differing_clocks(asked, int(seconds) + int(micros) / 1e6, self._now().timestamp()),
        ]

    async def _kafka(self) -> list[Weakness]:
        admin = self._bus.admin()
        try:
            await admin.start()
            described = await admin.describe_topics(self._topics)
            weak = [f"topic {t['topic']} does not exist; create it" for t in described if not t["partitions"]]
            there = {t["topic"]: t["partitions"] for t in described if t["partitions"]}
            resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in there]
            for reply in await admin.describe_configs(resources):
                for _, _, _, topic, entries in reply.resources:
                    replicas = len(there[topic][0]["replicas"])
                    weak += weak_topic(topic, {entry[0]: entry[1] for entry in entries}, replicas)
            spread = chain(*(spread_topic(topic, len(partitions)) for topic, partitions in there.items()))
            return [*(Weakness(said, "alarm", loses=True) for said in weak), *spread]
        finally:
            await admin.close()
