"""One service as a process: one task group, and any task that dies ends the process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import structlog
from fastapi import APIRouter

from shared.contract.city import Cities
from shared.contract.event import Event
from shared.kernel import clock
from shared.kernel.errors import Unavailable, crash_places
from shared.kernel.log.consumer import FOLLOWS, Consumer
from shared.kernel.log.fallback.client import EventsClient
from shared.kernel.log.fallback.delivery import FallbackDelivery
from shared.kernel.log.leases import LEASE, OutboxLeases
from shared.kernel.log.marks import KafkaMarks
from shared.kernel.log.outbox import add_failed_deadline
from shared.kernel.log.relay import Relay
from shared.kernel.log.router import EventRouter, Handler
from shared.kernel.machine.fingerprint import Fingerprints
from shared.kernel.machine.generation import StoreGeneration
from shared.kernel.machine.keeper import Effect, Keeper
from shared.kernel.machine.machine import Machine
from shared.kernel.machine.shards import shard_of
from shared.kernel.machine.store import OutboxRow, Store
from shared.kernel.machine.timers import FailedDeadline, Holds, Timers, never
from shared.kernel.machine.vault import KEYS_TOPIC, Vault
from shared.kernel.process import events_endpoint, web
from shared.kernel.process.http_server import HttpServer, http_server
from shared.kernel.process.platform import Platform
from shared.kernel.process.settings import Settings
from shared.kernel.process.verifier import SettingsVerifier

S = TypeVar("S")

Task = Callable[[], Coroutine[Any, Any, None]]

REAL = Platform()

FLUSH_WITHIN = 3.0
"""Seconds a stopping service gives its requests, and then its outbox."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Service:
    """What one service consumes, emits and serves; `tasks` run as long as it does.

    What it `consumes` reaches it at once, what it `follows` in batches: a fraction of a second later, at a fraction of
    the cost. A topic goes one way or the other. It says the events below `speaks`, and nobody else speaks on their
    topic. `first` is done before it serves requests; while `alone` is true it is ready for them though store and Kafka
    are away, and outlives its consumers.
    """

    name: str
    consumes: Mapping[type[Event], Handler]
    speaks: type[Event]
    routes: tuple[APIRouter, ...] = ()
    tasks: tuple[Task, ...] = ()
    follows: Mapping[type[Event], Handler] = field(default_factory=dict)
    first: tuple[Task, ...] = ()
    alone: Callable[[], bool] = lambda: False

    @property
    def emits(self) -> frozenset[type[Event]]:
        """Every event that it can say."""
        return self.speaks.kinds()


@dataclass(frozen=True, eq=False)
class Kit:
    """What a service is built with."""

    name: str
    settings: Settings
    store: Store
    vault: Vault
    timers: Timers
    now: Callable[[], datetime] = clock.now
    platform: Platform = REAL

    @property
    def cities(self) -> Cities:
        """City packs by division code."""
        return self.settings.packs

    def keep(
        self, machine: Machine[S], effects: Mapping[type[Event], Effect] | None = None, holds: Holds = never
    ) -> Keeper[S]:
        """A keeper for this machine; `effects` are told (state, event, drill) right after an event's commit.

        A deadline that it `holds` waits: this process is still at the work whose silence would be noticed then.
        """
        keeper = Keeper(self.name, machine, self.store, self.vault, self.now, self.timers.note_deadline, effects or {})
        self.timers.add_keeper(keeper, holds)
        return keeper


BuildService = Callable[[Kit], Service]


@dataclass(eq=False)
class ServiceProcess:
    """A built service and the machine around it. `stopping` is set by a signal, or by a test."""

    service: Service
    settings: Settings
    store: Store
    relay: Relay
    consumers: tuple[Consumer, ...]
    timers: Timers
    verifier: SettingsVerifier
    fallback: FallbackDelivery
    generation: StoreGeneration
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def check_ready(self) -> tuple[int, dict[str, Any]]:
        """200 while requests should come here; `degraded` names what is away without turning them away."""
        now = asyncio.get_running_loop().time()
        store = now - self.store.answered_at < LEASE
        away = [name for name, up in (("store", store), ("kafka", self.relay.connected)) if not up]
        away += [f"door of {name}" for name in self.fallback.unreachable_peers]
        away += ["what the store knew"] if self.store.lost_at else []
        away += ["a store that is known to be itself"] if store and not self.generation.known else []
        if self.stopping.is_set():
            return 503, {"status": "stopping"}
        joined = all(consumer.joined for consumer in self.consumers)
        met = all(consumer.joined or consumer.unreachable for consumer in self.consumers)  # else peers' doors serve
        if not (met and store) and not self.service.alone():
            return 503, {"status": "degraded" if met else "starting", "away": away}
        return 200, {
            "status": "degraded" if away or self.verifier.weak or not joined else "ready",
            "away": away,
            "weak": self.verifier.weak,
            "outbox_waits_s": round(self.relay.oldest_wait(), 1),
            "hedging": self.fallback.doubts_kafka,
        }

    async def run(self, server: HttpServer) -> None:
        """Serve until `stopping`; then take no more events, answer requests, stop deciding, send the outbox, end."""
        store = self.store
        with_store = (self.verifier.run, self.relay.run, self.fallback.run)
        carries: list[Task] = [self._load_functions, self.generation.run, store.run]
        carries += [partial(work, store) for work in with_store]
        async with asyncio.TaskGroup() as tasks:
            carrying = [tasks.create_task(self._kept_alive(work)) for work in carries]
            deciding = [tasks.create_task(self._kept_alive(work)) for work in (self.timers.run, *self.service.tasks)]
            consuming = [tasks.create_task(self._kept_alive(consumer.run)) for consumer in self.consumers]
            serving = tasks.create_task(self._serve(server))
            await self.stopping.wait()
            # Consumers end first: what they have in work commits while store and relay still carry it.
            for consumer in self.consumers:
                consumer.stop()
            await asyncio.gather(*consuming)
            server.should_exit = True
            await serving
            for task in deciding:
                task.cancel()
            await asyncio.wait(deciding)
            await self.relay.drain_outbox(FLUSH_WITHIN)
            await self.relay.close(store)
            for task in carrying:
                task.cancel()

    async def _kept_alive(self, work: Task) -> None:
        """Until it has ended. The door of a service that stands alone outlives a task that crashes."""
        while True:
            try:
                return await work()
            except Exception as crash:
                if not self.service.alone():
                    raise
                log.critical("task_crashed", signal="warning", at=crash_places(crash))
                await asyncio.sleep(1)

    async def _serve(self, server: HttpServer) -> None:
        for preparation in self.service.first:
            await preparation()
        await server.serve()

    async def _load_functions(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                return await self.store.load()
            await asyncio.sleep(1)


def assemble_process(
    build: BuildService, settings: Settings, now: Callable[[], datetime] = clock.now, platform: Platform = REAL
) -> tuple[ServiceProcess, HttpServer]:
    """A service and everything around it, not yet running."""
    name = build.__module__.split(".")[-2]
    bus = platform.bus(settings.kafka, settings.instance)
    holder = f"{settings.instance or name}-{uuid4().hex[:12]}"
    leases = OutboxLeases(name, holder, sorted({shard_of(city) for city in settings.packs}), settings.instance)
    relay = Relay(bus, leases)
    token, marks = settings.peer_token(name), KafkaMarks(f"{name}:mark", bus, relay)
    peers = [EventsClient(peer, url, token) for peer, url in settings.doors.items() if settings.hedge]
    fallback = FallbackDelivery(peers, relay, platform.transport)

    def committed(tag: str, ids: tuple[bytes, ...], rows: tuple[OutboxRow, ...], follows_others: bool) -> None:
        relay.take_rows(tag, ids, rows, follows_others)
        fallback.take_rows(rows)

    store = platform.store(settings.redis_url, committed)

    async def set_aside(failed: FailedDeadline) -> None:
        shard = leases.shard(shard_of(failed.address.home))
        await add_failed_deadline(store, shard, f"{service.speaks.topic}.dlq", failed)

    timers = Timers(store, now, leases.held_tags, set_aside)
    service = build(Kit(name, settings, store, Vault(settings.masters, store), timers, now, platform))
    consumers = tuple(
        Consumer(group, bus, handlers, store, relay)
        for group, handlers in ((name, service.consumes), (name + FOLLOWS, service.follows))
        if handlers
    )
    heard = {event.topic for event in (*service.consumes, *service.follows)}
    spoken = service.speaks.topic
    topics = {*heard, *(f"{topic}.dlq" for topic in {*heard, spoken}), spoken, KEYS_TOPIC}
    verifier = SettingsVerifier(bus, topics, relay.gate, now)

    def rewind(since: int) -> None:
        for consumer in consumers:
            consumer.rewind_to(since)

    generation = StoreGeneration(store, marks, now, timers.clear_memory, rewind)
    process = ServiceProcess(service, settings, store, relay, consumers, timers, verifier, fallback, generation)
    app = web.application(name, settings.api_token.get_secret_value(), process.check_ready)
    app.state.fingerprints = Fingerprints(settings.masters)
    app.state.now = now
    # Over HTTP there is no batch to wait for: both kinds come the same way.
    event_router = EventRouter({**service.follows, **service.consumes})
    for api in (*service.routes, events_endpoint.routes(event_router, settings.peer_tokens, fallback.note_doubt)):
        app.include_router(api)
    return process, http_server(app, settings)


@contextlib.asynccontextmanager
async def running_service(
    build: BuildService, settings: Settings, now: Callable[[], datetime] = clock.now, platform: Platform = REAL
) -> AsyncIterator[ServiceProcess]:
    """The service, serving on its port, inside this process: for tests that want a service whole."""
    process, server = assemble_process(build, settings, now, platform)
    work = asyncio.create_task(process.run(server))
    try:
        yield process
    finally:
        process.stopping.set()
        await work
