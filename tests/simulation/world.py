"""One seed played: all services in one loop, around them a store, brokers, desks and people that break as planned."""

import asyncio
import gc
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import httpx
from aiokafka.structs import TopicPartition

from shared.contract.terms import spoken_number
from shared.kernel.process.platform import Platform
from shared.kernel.process.settings import Settings
from tests.simulation import bus, routes, store
from tests.simulation.bus import SESSION
from tests.simulation.city import AREA, DESKS, SECRET, settings
from tests.simulation.desks import Desk
from tests.simulation.loop import Life, VirtualLoop
from tests.simulation.paper import Paper
from tests.simulation.people import Crowd
from tests.simulation.plan import AUDITOR, COMMITTER, SERVICES, STARTED, Fault, Plan
from tests.simulation.program import ANSWERING, Answering, Cut, Program, Refused, Wire, audit, serve

EPOCH = datetime(2026, 3, 1, 4, tzinfo=UTC)
SEAT_PATIENCE = 3.0
"""Seconds a person's screen waits for an answer."""

SETTLED_WITHIN = 90.0
QUIET = 3.0
"""Seconds in which nothing happens any more before a run counts as settled."""


@dataclass(frozen=True, order=True)
class Moment:
    """One line of a run's timeline."""

    at: float
    who: str
    words: str

    def __str__(self) -> str:
        return f"{self.at:8.3f}  {self.who:<18} {self.words}"


@dataclass(eq=False)
class World:
    """Everything there is in one run."""

    plan: Plan
    loop: VirtualLoop
    random: Random = field(init=False)
    timeline: list[Moment] = field(default_factory=list)
    settled_at: float | None = None
    commits: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random = Random(self.plan.seed * 2 + 1)
        self.answers_lost, self.channel_away = 0.0, False
        self.offsets = dict.fromkeys((*SERVICES, AUDITOR), 0.0)
        self.server = store.Server(
            store.Valkey(lambda: self.now().timestamp()), store.Way(random), self.loop, self._committed
        )
        self.kafka = bus.Kafka(self.loop, bus.Way(random), self._written)
        self.desks = {name: self._desk(name) for name in DESKS}
        self.crowd = Crowd(random, self.loop, self.ask, self.desks, self.tell, self.plan.reacts_after)
        hosts: dict[str, Answering] = {f"desk-{name[-3:]}": desk.receive for name, desk in self.desks.items()}
        names = (*SERVICES, AUDITOR) if self.plan.audited else SERVICES
        hosts |= {name: self._peer(name) for name in names}
        self.paper: dict[UUID, Any] = {}
        platform = Platform(
            self.kafka.bus,
            self.server.store,
            lambda **_: Wire(hosts),
            self._channel,
            lambda *_: Paper(self.paper),
            lambda: 0.0,
        )
        self.programs = {name: self._program(name, settings(name, names), platform) for name in names}

    def _program(self, name: str, told: Settings, platform: Platform) -> Program:
        def now() -> datetime:
            return self.now() + timedelta(seconds=self.offsets[name])

        def restart_after() -> float:
            return 0.3 + self.random.random() * 1.5

        doing = audit if name == AUDITOR else serve
        return Program(name, told, platform, now, self.loop, self.tell, restart_after, doing)

    def case(self, number: int) -> str:
        """The case of the plan's call of that number."""
        return str(UUID(int=(0x0197C0DE << 96) | (7 << 76) | (2 << 62) | (self.plan.seed << 8) | number))

    def now(self) -> datetime:
        """What an honest clock shows."""
        return EPOCH + timedelta(seconds=self.loop.time())

    def tell(self, who: str, words: str) -> None:
        """Write a line of the timeline."""
        self.timeline.append(Moment(self.loop.time(), who, words))

    @property
    def schedule(self) -> str:
        """What happened and when, as one hash."""
        told = "\n".join(f"{moment.at!r} {moment.who} {moment.words}" for moment in self.timeline)
        return hashlib.sha256(f"{told}\n{self.loop.steps}".encode()).hexdigest()[:16]

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """A request from outside, answered or not: (0, b"") after the patience of a person's screen."""
        await asyncio.sleep(0.001 + self.random.random() * 0.004)
        lost = self.answers_lost and self.random.random() < self.answers_lost
        try:
            async with asyncio.timeout(SEAT_PATIENCE):
                if lost and self.random.random() < 0.3:
                    await asyncio.sleep(SEAT_PATIENCE * 2)
                answer = await self.programs[url.split("/")[2]].ask(method, url, headers, body)
                if lost:
                    await asyncio.sleep(SEAT_PATIENCE * 2)
                return answer
        except (Refused, Cut, TimeoutError):
            return 0, b""

    async def play(self) -> None:
        """Until all is settled, or does not settle."""
        for program in self.programs.values():
            program.start()
        for number, (at, steps) in enumerate(self.plan.calls):
            self.loop.call_at(at, self.crowd.begin, self.crowd.call(self.case(number), f"seat-{number + 1}", steps))
        for fault in self.plan.faults:
            if not fault.after:
                self.loop.call_at(fault.at, self._break, fault)
        watching = self.loop.create_task(self.crowd.watch(self.plan.manner))
        until = max([fault.at + fault.lasts for fault in self.plan.faults if not fault.after], default=0.0) + 2
        await asyncio.sleep(max(until, STARTED + 6.0))
        await self._settle()
        watching.cancel()

    async def _settle(self) -> None:
        quiet, deadline = 0.0, self.loop.time() + SETTLED_WITHIN
        while self.loop.time() < deadline:
            quiet = quiet + 0.5 if not (self.crowd.busy or self.waiting()) else 0.0
            if quiet >= QUIET:
                self.settled_at = self.loop.time()
                return
            await asyncio.sleep(0.5)

    def waiting(self) -> list[str]:
        """What is not settled: rows in outboxes, records unheard, desks that still speak, calls nobody answers."""
        found = [f"{key.decode()}" for key, value in self.server.valkey.data.items() if _rows(key, value)]
        for name, group in self.kafka.groups.items():
            topics = {topic for member in group.members for topic in member.topics}
            logs = ((topic, p, len(log)) for topic in sorted(topics) for p, log in enumerate(self.kafka.logs[topic]))
            heard = group.offsets
            found += [f"{name} on {t}/{p}" for t, p, end in logs if end > heard.get(TopicPartition(t, p), 0)]
        found += [f"{name} has not started" for name, p in self.programs.items() if p.app is None]
        found += [f"{name} speaks" for name, desk in self.desks.items() if desk.voices]
        return found + [f"{desk} has not accepted …{case[-4:]}" for case, desk in self._owed()]

    def _owed(self) -> set[tuple[str, str]]:
        """Who was promised a desk that has not accepted it, nor said no so that somebody here knows."""
        promised = {(s.wish.case, desk) for s in self.crowd.sent if s.accepted for desk in s.wish.desks}
        known = {
            (case.case, name)
            for name, desk in self.desks.items()
            for case in desk.book.values()
            if case.accepted_at is not None or (case.made_at is None and self._rung(case.case, name))
        }
        return promised - known

    def _rung(self, case: str, desk: str) -> bool:
        return any(rung.case == case and rung.desk in {desk, None} for rung in self.crowd.rung)

    def _desk(self, name: str) -> Desk:
        desk = Desk(name, SECRET, self.random, self.loop, self.now, self.ask, self.tell)
        for habit, value in self.plan.habits[name].items():
            setattr(desk, habit, value)
        return desk

    def _peer(self, name: str) -> Callable[[httpx.Request, bytes], Any]:
        async def answer(request: httpx.Request, body: bytes) -> httpx.Response:
            await asyncio.sleep(0.001)
            headers = {key: value for key, value in request.headers.items() if key != "content-length"}
            try:
                status, said = await self.programs[name].ask(request.method, str(request.url), headers, body)
            except Refused:
                raise httpx.ConnectError("refused", request=request) from None
            except Cut:
                raise httpx.ReadError("cut", request=request) from None
            return httpx.Response(status, content=said, headers={"content-type": "application/json"})

        return answer

    async def _channel(self, _: Sequence[str], words: str) -> bool:
        """The phone of whoever is on call."""
        await asyncio.sleep(0.05)
        if self.channel_away:
            return False
        self.tell("CHANNEL", words)
        for line in words.splitlines():
            if "phone now" in line:
                self._rang(line)
        return True

    def _rang(self, line: str) -> None:
        """One line of a message that rings; one message may ring for several cases."""
        cases = dict.fromkeys(sent.wish.case for sent in self.crowd.sent)
        about = [(case, desk) for case in cases for desk in DESKS if _names(line, case, desk)]
        for case, desk in about:
            self.crowd.hear(case, desk, None, "phone")
        if not about:
            self.crowd.wrong.append(f"people were rung for nobody we know: {line}")

    def _written(self, record: bus.Record) -> None:
        kind = (record.header("ce_type") or record.topic).rpartition(".")[2]
        self.tell("bus", f"{kind} {(record.header('ce_subject') or '')[30:]}")

    def _committed(self, life: Life, events: list[bytes]) -> None:
        """A commit was applied, and nobody knows of it yet."""
        for name in ("", *sorted({event.decode() for event in events})):
            self.commits[name] += 1
            for fault in self.plan.faults:
                if (fault.after, fault.of) == (self.commits[name], name):
                    self._break(replace(fault, whom=life.name) if fault.whom == COMMITTER else fault)

    def _break(self, fault: Fault) -> None:
        self.tell("FAULT", str(fault))
        mend = BREAKS[fault.kind.split(" ")[0]](self, fault)
        if mend is not None and fault.lasts:
            self.loop.call_later(fault.lasts, self._mend, fault, mend)

    def _mend(self, fault: Fault, mend: Callable[[], None]) -> None:
        self.tell("FAULT", f"over: {fault.kind} {fault.whom}")
        mend()


def _names(words: str, case: str, desk: str) -> bool:
    return spoken_number(AREA, UUID(case)) in words and AREA + desk[-3:] in words


def _rows(key: bytes, value: Any) -> bool:
    return key.endswith(b":outbox") and bool(value.entries)


def _kill(world: World, fault: Fault) -> None:
    life = world.programs[fault.whom].life
    if life is not None:
        life.after(int(fault.much), life.end)


def _freeze(world: World, fault: Fault) -> Callable[[], None] | None:
    life = world.programs[fault.whom].life
    if life is None:
        return None
    life.after(int(fault.much), life.freeze)

    def thaw() -> None:
        if life.strike == life.freeze:
            life.strikes_at = None  # it may not have taken so many steps yet
        world.loop.thaw(life)
        for name, group in world.kafka.groups.items():
            if fault.lasts > SESSION and any(member.life is life for member in group.members):
                world.kafka.rebalance(name)  # nobody believed any more that it lives

    return thaw


def _store(world: World, fault: Fault) -> Callable[[], None]:
    server, kind = world.server, fault.kind.split(" ")[1]
    if kind == "down":
        server.stop()
        return server.start
    if kind == "silent":
        server.freeze()
        return server.thaw
    if kind in store.REFUSALS:
        server.valkey.refuses = kind
        return lambda: setattr(server.valkey, "refuses", "")
    setattr(server.way, kind, fault.much)
    return lambda: setattr(server.way, kind, 0.0)


def _bus(world: World, fault: Fault) -> Callable[[], None]:
    kind = fault.kind.split(" ")[1]
    if kind == "away":
        world.kafka.way.away = True
        return world.kafka.heal
    setattr(world.kafka.way, kind, fault.much)
    return lambda: setattr(world.kafka.way, kind, 0.0)


def _rebalance(world: World, fault: Fault) -> None:
    for name in list(world.kafka.groups):
        if name.startswith(fault.whom):
            world.kafka.rebalance(name)


def _answers(world: World, fault: Fault) -> Callable[[], None]:
    world.answers_lost = fault.much
    return lambda: setattr(world, "answers_lost", 0.0)


def _channel(world: World, _: Fault) -> Callable[[], None]:
    world.channel_away = True
    return lambda: setattr(world, "channel_away", False)


def _clock(world: World, fault: Fault) -> Callable[[], None]:
    world.offsets[fault.whom] += fault.much
    return lambda: world.offsets.update({fault.whom: 0.0})


def _desk(world: World, fault: Fault) -> Callable[[], None]:
    desk = world.desks[fault.whom]
    desk.trouble = fault.kind
    return desk.mend


def _poison(world: World, fault: Fault) -> None:
    world.programs[fault.whom].poisoned = world.case(0)


BREAKS: dict[str, Callable[[World, Fault], Any]] = {
    "kill": _kill,
    "freeze": _freeze,
    "store": _store,
    "bus": _bus,
    "rebalance": _rebalance,
    "answers": _answers,
    "channel": _channel,
    "clock": _clock,
    "poison": _poison,
    **dict.fromkeys(("refused", "blackhole", "error", "garbage", "cut", "late", "unread"), _desk),
}


def play(plan: Plan) -> World:
    """Play it to its end; nothing of it goes on afterwards."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(plan, loop)
    try:
        loop.run_until_complete(world.play())
    finally:
        asyncio.set_event_loop(None)
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
    return world


def forget() -> None:
    """Let go of what is left of runs that nobody holds any more: tasks, all in the middle of something, and silent."""
    ANSWERING.clear()
    routes.forget()
    sys.unraisablehook, before = lambda _: None, sys.unraisablehook
    gc.collect()
    sys.unraisablehook = before
