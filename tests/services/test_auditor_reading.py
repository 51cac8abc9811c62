"""The auditor's own reading of Kafka goes on after a reader that hangs: nobody else would notice that it is blind."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import KafkaConnectionError
from uuid_utils.compat import uuid7

from deploy.local import topics
from deploy.local.kafka import Cluster
from services.auditor import kafka_reader
from services.auditor.kafka_reader import NAMES, KafkaReader
from shared.contract.calls import EscalationRequested
from shared.contract.terms import Situation
from shared.kernel.clock import now
from shared.kernel.log import kafka as kafka_log
from shared.kernel.log.bus import Bus
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.cloudevent import source_of
from tests.support.batches import ODD, batch, put, zstandard
from tests.support.eventually import eventually


@dataclass
class Reader:
    """As much of a consumer as the auditor needs; at `hangs_at` it waits for ever, as after a broker's end.

    One that hangs in a `fetch` answers all that is asked, and only never gets at the record that lies there.
    """

    hangs_at: str
    asked: int = 0

    async def _at(self, step: str) -> Any:
        await (asyncio.Event().wait() if step == self.hangs_at else asyncio.sleep(0.01))
        return {}

    async def start(self) -> None:
        await self._at("start")

    async def end_offsets(self, _: object) -> Any:
        self.asked += 1
        await self._at("ends" if self.asked == 1 else "ends again")
        return {"hotline.calls": 1 if self.hangs_at == "fetch" else 0}

    async def offsets_for_times(self, _: object) -> Any:
        return await self._at("times")

    async def getmany(self, timeout_ms: int) -> Any:
        if self.hangs_at == "stop":
            raise KafkaConnectionError
        return await self._at("getmany")

    async def position(self, _: object) -> int:
        await self._at("position")
        return 0

    def assignment(self) -> set[object]:
        return set()

    async def stop(self) -> None:
        if self.hangs_at == "stop":
            with suppress(asyncio.CancelledError):  # as the library does while it waits for a task of its own
                await asyncio.Event().wait()
        await self._at("stop")


@dataclass
class Readers:
    """A bus whose first reader hangs."""

    hangs_at: str
    made: list[Reader] = field(default_factory=list)

    def reader(self, *_: str, patient: bool = False) -> Reader:
        self.made.append(Reader(self.hangs_at if not self.made else "never"))
        return self.made[-1]


@pytest.mark.parametrize("hangs_at", ["start", "ends", "ends again", "getmany", "position", "fetch", "stop"])
async def test_a_reader_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch, hangs_at: str) -> None:
    monkeypatch.setattr(kafka_reader, "STUCK_AFTER", 0.2)
    monkeypatch.setattr(kafka_reader, "BLIND_AFTER", 1.0)
    monkeypatch.setattr(kafka_log, "STOPPED_WITHIN", 0.1)
    monkeypatch.setattr(kafka_reader, "LOOK_EVERY", 0.05)
    readers = Readers(hangs_at)
    found = KafkaReader(cast(Bus, readers))
    running = asyncio.create_task(found.run(now()))

    async def whole() -> bool:
        return found.whole_at is not None

    await eventually(whole, 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(readers.made) == 2


async def test_t2_it_reads_on_over_what_cannot_be_read_on_every_topic(kafka: Cluster) -> None:
    await topics.create(kafka.bootstrap, topics.listed())
    began, case = now() - timedelta(minutes=1), UUID(str(uuid7()))
    cry = EscalationRequested(case=case, city="140700", at=now(), by="seat-1", situation=Situation())
    named = [("ce_type", cry.type_name().encode()), ("ce_id", str(uuid4()).encode())]
    named += [("ce_source", source_of(cry.service).encode())]
    value, key = cry.model_dump_json().encode(), str(case).encode()
    for topic in NAMES:
        for odd in ([(ODD, b"?")], named[:1]):
            plain = batch((None, value, odd))
            await put(kafka.bootstrap, topic, 0, plain)
            await put(kafka.bootstrap, topic, 0, zstandard(plain))
    await put(kafka.bootstrap, cry.topic, 0, batch((key, value, named)))
    found = KafkaReader(KafkaBus(kafka.bootstrap))
    await found.once(began)
    assert case in found.accounts
