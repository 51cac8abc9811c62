"""How long a rebuild takes: `python -m deploy.bench.rebuild INCIDENTS` fills real topics with as many, and rebuilds."""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import typer
from aiokafka import AIOKafkaProducer

from deploy.bench.history import Cast, History
from deploy.cli.rebuild import rebuilt
from deploy.local import packs, topics
from deploy.local.kafka import kafka
from deploy.local.ports import Ports
from deploy.local.valkey import valkey
from shared.kernel.process.settings import Settings

CLOSED = 0.95
"""The share of incidents that are over; the others have their desks under way."""

BATCH = 131_072
"""Bytes."""


async def measure(incidents: int, state: Path) -> dict[str, Any]:
    """Seconds, records and instances of each part; in how many the store then differs from the log.

    Those are the recovered: nobody runs that would relay what they said.
    """
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(kafka(state / "kafka"))
        store = await stack.enter_async_context(valkey(state / "valkey"))
        await topics.create(cluster.bootstrap, topics.listed())
        cities = packs.lay(state / "cities", Ports())
        told = {"JINGYI_REDIS_URL": store.url, "JINGYI_KAFKA": cluster.bootstrap, "JINGYI_CITIES": str(cities)}
        settings = Settings(redis_url=store.url, kafka=cluster.bootstrap, cities=cities)
        begun = time.monotonic()
        records = await fill(Cast(settings), incidents, cluster.bootstrap)
        typer.echo(f"{records} records of {incidents} incidents written in {time.monotonic() - begun:.0f} s")
        begun, busy = time.monotonic(), cpu()
        parts = await rebuilt({**os.environ, **told}, check=False, beside=False, quiet=True)
        took, busy = time.monotonic() - begun, cpu() - busy
        same = await rebuilt({**os.environ, **told}, check=True, beside=False, quiet=True)
    return {
        "incidents": incidents,
        "records": records,
        "seconds": round(took, 1),
        "cpu_s": round(busy, 1),
        "load": os.getloadavg()[0],
        "incidents_per_s": round(incidents / took),
        "recovered": sum(part["recovered"] for part in parts.values()),
        "differing": sum(part.get("differ", 0) for part in same.values()),
        "parts": {name: {k: part[k] for k in ("records", "instances", "seconds")} for name, part in parts.items()},
        "cores": psutil.cpu_count(),
    }


def cpu() -> float:
    """CPU seconds of the parts that have ended; neither the broker's nor the store's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def fill(cast: Cast, incidents: int, brokers: str) -> int:
    """Write that many histories, cases side by side as on a busy line. Returns how many records."""
    closed, open_one = cast.rescue(closes=True), cast.rescue(closes=False)
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=20, max_batch_size=BATCH)
    await producer.start()
    written = 0
    try:
        for records in histories(closed, open_one, incidents):
            for topic, key, value, headers in records:
                await producer.send(topic, value, key=key, headers=headers)
            written += len(records)
        await producer.flush()
    finally:
        await producer.stop()
    return written


def histories(closed: History, open_one: History, incidents: int) -> Iterator[list[Any]]:
    over = round(incidents * CLOSED)
    yield from closed.copies(over)
    yield from open_one.copies(incidents - over)


if __name__ == "__main__":
    with TemporaryDirectory(prefix="jingyi-rebuild-") as folder:
        typer.echo(json.dumps(asyncio.run(measure(int(sys.argv[1]), Path(folder))), indent=1))
