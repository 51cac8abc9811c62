"""Compares raised → ordered → delivered, drills each minute, and rings where nobody else would. Start reading here.

It is no service of the kernel's kind: it keeps no machine and says no event. All it knows it reads, so it needs neither
Redis nor a master key, and outlives both.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from services.auditor import api, clients
from services.auditor.auditor import Auditor
from services.auditor.drill import Drill, drilled_cities
from services.auditor.kafka_reader import KafkaReader
from services.auditor.ring import AuditorRing
from shared.kernel import clock
from shared.kernel.log.router import EventRouter
from shared.kernel.process import events_endpoint, web
from shared.kernel.process.http_server import HttpServer, http_server
from shared.kernel.process.platform import Platform
from shared.kernel.process.program import run_process
from shared.kernel.process.service import REAL
from shared.kernel.process.settings import Settings, surroundings
from shared.notify.bell import Bell


def build(settings: Settings, platform: Platform = REAL, now: Callable[[], datetime] = clock.now) -> Auditor:
    return Auditor(
        peers=clients.connect_peers(settings, platform.transport),
        reader=KafkaReader(platform.bus(settings.kafka, None)),
        ring=AuditorRing(Bell(settings.packs, platform.tell, surroundings())),
        cities=settings.packs,
        now=now,
        drills={shard: Drill(city) for shard, city in drilled_cities(settings.packs).items()},
    )


@asynccontextmanager
async def running(
    settings: Settings, platform: Platform = REAL, now: Callable[[], datetime] = clock.now
) -> AsyncIterator[Auditor]:
    """The auditor at work and serving on its port, inside this process."""
    auditor = build(settings, platform, now)
    server = _server(auditor, settings)
    async with asyncio.TaskGroup() as tasks:
        audits, serves = tasks.create_task(auditor.run()), tasks.create_task(server.serve())
        try:
            yield auditor
        finally:
            server.should_exit = True
            await asyncio.gather(serves, return_exceptions=True)
            audits.cancel()
            await auditor.peers.http.aclose()


def run() -> None:
    run_process(clients.NAME, lambda settings: settings.packs, _until_signalled)


async def _until_signalled(settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running(settings):
        await stopping.wait()


def _server(auditor: Auditor, settings: Settings) -> HttpServer:
    async def ready() -> tuple[int, dict[str, Any]]:
        return 200, {"status": "ready" if auditor.agrees else "degraded"}

    app = web.application(clients.NAME, settings.api_token.get_secret_value(), ready)
    app.include_router(api.routes(auditor))
    # Peers ask every door what it hears: the auditor hears nothing there, for it believes Kafka alone.
    app.include_router(events_endpoint.routes(EventRouter({}), settings.peer_tokens, lambda _: None))
    return http_server(app, settings)
