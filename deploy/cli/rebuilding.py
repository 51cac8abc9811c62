"""One service's part of a rebuild, as a process of its own.

`python -m deploy.cli.rebuilding SERVICE rebuild|check EPOCH` says how far it is in lines of JSON; the last has `done`.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict
from importlib import import_module
from typing import Any

import structlog
import uvloop

from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.machine.vault import KEYS_TOPIC
from shared.kernel.process.settings import Settings
from shared.kernel.rebuild.comparison import compare_with_log
from shared.kernel.rebuild.rebuild import RebuildProgress, ServiceLog, rebuild_service, restore_keys

NAMED = 20
"""Instances and records named in a report; the others are counted."""


async def work(service: str, mode: str, epoch: int, settings: Settings) -> dict[str, Any]:
    """What it came to."""
    store, bus = ValkeyStore(settings.redis_url, lambda *_: None), KafkaBus(settings.kafka)
    serving = asyncio.create_task(store.run())
    try:
        await store.load()
        if service == KEYS_TOPIC:
            return {**report(await restore_keys(bus, store, told)), "hash": ""} if mode == "rebuild" else {}
        remains = ServiceLog.for_service(import_module(f"services.{service}.service").build, settings, store)
        if mode == "rebuild":
            return report(await rebuild_service(remains, bus, store, epoch, told))
        found = await compare_with_log(remains, bus, store, told)
        differing = dict(list(found.differing.items())[:NAMED])
        seen = {"store": str(found.store), "equal": found.equal, "differ": len(found.differing), "differing": differing}
        return {**report(found.progress), **seen}
    finally:
        serving.cancel()
        await asyncio.wait([serving])


def told(progress: RebuildProgress) -> None:
    say(records=progress.records, of=progress.total_records, instances=progress.digest.instances)


def report(progress: RebuildProgress) -> dict[str, Any]:
    """The progress at its end, its lists counted and their first members named."""
    lists = {name: found for name, found in asdict(progress).items() if isinstance(found, list)}
    return {
        "records": progress.records,
        "instances": progress.digest.instances,
        "hash": str(progress.digest),
        **{name: len(found) for name, found in lists.items()},
        "named": {name: found[:NAMED] for name, found in lists.items()},
    }


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main(service: str, mode: str, epoch: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    begun = time.monotonic()
    done = uvloop.run(work(service, mode, int(epoch), Settings()))
    say(done={**done, "seconds": round(time.monotonic() - begun, 1)})


if __name__ == "__main__":
    main(*sys.argv[1:])
