"""The bare pipeline: HTTP in, three Kafka hops in three processes, httpx to both desks; no state, seals or receipts.

`python -m deploy.bench.bare intake|risk|dispatch|adapter`, told by the same environment as a service.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
import uvicorn
import uvloop
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from pydantic import BaseModel

from shared.kernel.log.kafka import KafkaBus
from shared.kernel.process.settings import Settings

SAVED, ASSESSED, ORDERED = "bare.saved", "bare.assessed", "bare.ordered"
TOPICS = (SAVED, ASSESSED, ORDERED)
HEARS = {"risk": SAVED, "dispatch": ASSESSED, "adapter": ORDERED}
SAYS = {"intake": SAVED, "risk": ASSESSED, "dispatch": ORDERED}

Hop = Callable[[Any], Awaitable[object]]


class Saved(BaseModel):
    """One save, as it goes through every hop."""

    case: UUID
    answers: dict[str, dict[str, bool]]


class Stage:
    """One process of the bare pipeline."""

    def __init__(self, name: str, settings: Settings, desks: list[str]) -> None:
        self._name = name
        self._settings = settings
        self._desks = desks
        self._producer: Any = None
        self._clients = [httpx.AsyncClient(timeout=4, trust_env=False) for _ in desks]

    async def run(self) -> None:
        """Serve health (and, in intake, saves) and hear the stage's topic."""
        self._producer = KafkaBus(self._settings.kafka).producer()
        await self._producer.start()
        app = FastAPI()
        app.get("/health/ready")(self._ready)
        if self._name == "intake":
            app.post("/saves", status_code=201)(self._save)
        server = uvicorn.Server(
            uvicorn.Config(app, self._settings.host, self._settings.port, log_config=None, access_log=False)
        )
        async with asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(self._hear()) if self._name in HEARS else None
            await server.serve()
            if hearing:
                hearing.cancel()
        with suppress(KafkaError):
            await self._producer.stop()

    async def _ready(self) -> dict[str, str]:
        return {"status": "ready"}

    async def _save(self, saved: Saved) -> dict[str, str]:
        await self._producer.send_and_wait(SAVED, saved.model_dump_json().encode(), key=str(saved.case).encode())
        return {"status": "saved"}

    async def _hear(self) -> None:
        consumer = KafkaBus(self._settings.kafka).consumer(f"bare-{self._name}")
        consumer.subscribe([HEARS[self._name]])
        await consumer.start()
        hop = self._notify if self._name == "adapter" else self._pass_on
        done: dict[Any, int] = {}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commit(consumer, done))
                while True:
                    for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                        for record in records:
                            tasks.create_task(hop(record))
                        done[partition] = records[-1].offset + 1
        finally:
            await consumer.stop()

    async def _commit(self, consumer: Any, done: dict[Any, int]) -> None:
        while True:
            await asyncio.sleep(0.2)
            if done:
                ready = dict(done)
                done.clear()
                with suppress(KafkaError):
                    await consumer.commit(ready)

    async def _pass_on(self, record: Any) -> None:
        saved = Saved.model_validate_json(record.value)
        await self._producer.send_and_wait(SAYS[self._name], saved.model_dump_json().encode(), key=record.key)

    async def _notify(self, record: Any) -> None:
        body = Saved.model_validate_json(record.value).model_dump_json().encode()
        headers = {"content-type": "application/json"}
        await asyncio.gather(
            *(
                client.post(desk, content=body, headers=headers)
                for client, desk in zip(self._clients, self._desks, strict=True)
            )
        )


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Stage(sys.argv[1], Settings(), sys.argv[2:]).run())
