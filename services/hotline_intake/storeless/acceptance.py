"""受理: what a seat asks is written down, then learnt; if the store is silent it is kept, rung, and learnt later."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from uuid import UUID, uuid5

import structlog

from services.hotline_intake.acts import ANSWERS, Act, What, commanded, sensible, unseen
from services.hotline_intake.alarm.decide import AlarmAnswer
from services.hotline_intake.alarm.row import POLICE
from services.hotline_intake.call import Call, CallUnknown, Escalate, RecordScreening
from services.hotline_intake.seat import Seat
from services.hotline_intake.storeless.mirror import LedgerMirror, MirroredCall
from shared.contract.city import Clocks
from shared.contract.event import Event, Rejected
from shared.contract.terms import spoken_number
from shared.kernel.errors import Unavailable
from shared.kernel.machine.keeper import IdempotencyKey, Keeper, KeyReused, Learned
from shared.kernel.process import web
from shared.kernel.process.journal import Journal, Unwritable
from shared.kernel.process.service import Kit

PATIENCE = 2.5
"""Seconds for the store to take an act; ours, so that the seat has its answer before its own 3 s are over."""

TWICE = 2
"""Readings before the door opens: the first may find a store without our functions, and load them."""

AT_ONCE = 16
"""Calls whose kept acts are learnt at the same time: their commits share one fsync."""

REPLAY_EVERY = 0.25
OPEN_EVERY = 5.0
"""Seconds."""

log = structlog.get_logger()


@dataclass(frozen=True)
class KeptInJournal:
    """The answer while the store is silent: the call as memory has it."""

    act: Act
    call: Call


class NothingTookIt(Unavailable):
    """Neither the store nor the journal took a cry for help."""


class Acceptance:
    """Takes acts of all seats. What it has answered for is in the store, or in the journal and in memory."""

    def __init__(self, kit: Kit, calls: Keeper[Call], journal: Journal, mirror: LedgerMirror) -> None:
        self._kit = kit
        self._calls = calls
        self._journal = journal
        self._mirror = mirror
        self._kept: dict[UUID, Act] = {}
        self._waits = asyncio.Event()

    async def take(self, act: Act) -> Learned[Call] | KeptInJournal:
        """The call after the act, or as it is kept. Raises Rejected, PhoneNow or Unavailable: then it was not taken."""
        sensible(act, self._kit.cities)
        if act.id in self._kept:
            return self._again(act)
        written = act.urgent and self._write(act)
        if self._mirror.silent or self._mirror.known(act.address).ours:
            return await self._keep(act, written)
        work = asyncio.create_task(self._learn(act, rang=self._mirror.rang(act.address)))
        work.add_done_callback(_looked_at)
        await asyncio.wait({work}, timeout=PATIENCE)
        failure = work.exception() if work.done() else Unavailable("The store does not answer in time.")
        if failure is None:
            return work.result()
        if isinstance(failure, Rejected) or not (act.urgent or isinstance(failure, Unavailable)):
            raise failure
        _say_unexpected(act, failure)
        self._mirror.failed()
        return await self._keep(act, written)

    async def before(self, seat: Seat) -> Call | None:
        """The call as the store has it, unless that is silent."""
        if self._mirror.silent:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await seat.call()
        except (TimeoutError, Unavailable):
            self._mirror.failed()
            return None

    async def read(self) -> None:
        """Read the journal, and let the store learn what is in it if it answers: before the door opens."""
        await self._open()
        for _ in range(TWICE):
            await self._mirror.look()
            await self._replay()

    async def run(self) -> None:
        """Let the store learn what was kept as soon as it answers, for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._open_at_last())
                while True:
                    await self._waits.wait()
                    await self._replay()
                    if not self._kept:
                        self._waits.clear()
                    await asyncio.sleep(REPLAY_EVERY)
        finally:
            self._journal.close()

    async def _open_at_last(self) -> None:
        while not self._journal.is_open:
            await asyncio.sleep(OPEN_EVERY)
            await self._open()

    async def _open(self) -> None:
        try:
            self._journal.open()
        except Unwritable as refusal:
            log.warning("journal_unusable", signal="warning", why=str(refusal))
            return
        for act in (Act.model_validate(what) for entry, what in self._journal.open_entries.items()):
            if act.id not in self._kept:
                await self._remember(act)

    async def _remember(self, act: Act) -> None:
        """An act of an earlier life stands again as it did, so that it rings, and the same key finds it."""
        self._note(act)
        try:
            row, events = await self._decided(act)
        except (Rejected, Unavailable):
            return  # what it was about is only in the store: learnt there
        self._mirror.move(act.address, row, events, act.id)

    def _note(self, act: Act) -> None:
        self._kept[act.id] = act
        self._waits.set()

    def _write(self, act: Act) -> bool:
        try:
            self._journal.keep(act.id, act.model_dump(mode="json"))
        except Unwritable as refusal:
            log.warning("journal_unwritable", signal="warning", why=str(refusal))
            return False
        return True

    def _again(self, act: Act) -> KeptInJournal:
        if act.fingerprint != self._kept[act.id].fingerprint:
            raise KeyReused
        if act.id not in self._journal.open_entries and not self._write(act):
            raise self._phone_now(act)
        return KeptInJournal(act, self._mirror.known(act.address).call)

    async def _keep(self, act: Act, written: bool) -> KeptInJournal:
        """Ring it from memory, now. Raises Rejected, NothingTookIt or Unavailable."""
        try:
            row, events = await self._decided(act)
        except Rejected:
            self._journal.mark_done(act.id)
            raise
        written = written or self._write(act)
        if not (written or act.urgent):
            raise Unavailable("Neither the store nor the journal takes it now.")
        self._note(act)
        self._mirror.move(act.address, row, events, act.id)
        if not written:
            raise self._phone_now(act)
        return KeptInJournal(act, row.call)

    async def _decided(self, act: Act) -> tuple[MirroredCall, tuple[Event, ...]]:
        """The row and what would be said of it, were memory the store."""
        row = self._mirror.known(act.address)
        command = await commanded(act, unseen, rang=True)
        row.drill = act.drill if row.call.case is None else row.drill
        try:
            return row, self._mirror.decide(row.call, command)
        except CallUnknown:
            if not act.urgent:
                raise Unavailable("The store is silent, and without it this call is not known here.") from None
        opening = self._mirror.decide(row.call, act.opening)
        opened = reduce(self._calls.machine.evolve, opening, row.call)
        return row, (*opening, *self._mirror.decide(opened, command))

    def _phone_now(self, act: Act) -> NothingTookIt:
        city = web.city_pack(self._kit.cities, act.city)
        police = city.desk(POLICE[0])
        return NothingTookIt(
            "Neither the store nor the journal takes it. 立即拨打"
            f" {police.number if police else POLICE[0]}: phone 110 now"
            f" and give the number {spoken_number(city.area_code, act.case)}."
        )

    async def _learn(self, act: Act, *, rang: bool, answers: tuple[AlarmAnswer, ...] | None = None) -> Learned[Call]:
        try:
            try:
                learned = await self._tried(act, rang, answers)
            except Unavailable:  # a lost function or a key made twice at one moment mends itself
                learned = await self._tried(act, rang, answers)
        except Rejected:
            if act.id not in self._kept:
                self._journal.mark_done(act.id)
            raise
        self._strike(act)
        self._mirror.saw(act.address, learned)
        return learned

    async def _tried(self, act: Act, rang: bool, answers: tuple[AlarmAnswer, ...] | None) -> Learned[Call]:
        seat = Seat(self._kit, self._calls, act.city, act.case)
        command = await commanded(act, seat.seal, rang=rang)
        if isinstance(command, Escalate | RecordScreening):
            command = command.model_copy(update={"answered": answers})
        try:
            return await self._calls.learn(command, act.cause)
        except CallUnknown:
            if act.id not in self._kept or not act.urgent:
                raise
        await self._calls.learn(act.opening, IdempotencyKey(uuid5(act.id, "opening"), drill=act.drill))
        return await self._calls.learn(command, act.cause)

    def _strike(self, act: Act) -> None:
        self._journal.mark_done(act.id)
        if self._kept.pop(act.id, None):
            self._mirror.learnt(act.address, act.id)

    async def _replay(self) -> None:
        """Let the store learn what was kept, each call's in order; first the calls about which somebody is phoning."""
        answered = {act.case for act in self._kept.values() if act.what in ANSWERS}
        cases: defaultdict[UUID, list[Act]] = defaultdict(list)
        for act in sorted(self._kept.values(), key=lambda act: act.case not in answered):
            cases[act.case].append(act)
        together = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._replay_case(acts, together) for acts in cases.values()))

    async def _replay_case(self, acts: list[Act], together: asyncio.Semaphore) -> None:
        async with together:
            for act in acts:
                if act.id in self._kept and not self._mirror.silent:
                    await self._learn_kept(act)
                if act.id in self._kept:  # what comes after it waits for it
                    return

    async def _learn_kept(self, act: Act) -> None:
        if act.what is What.CLAIM and self._lapsed(act):
            return self._strike(act)
        given = await self._answers(act) if act.urgent else []
        answers = tuple(answer for _, answer in given) if act.urgent else None
        work = asyncio.create_task(self._learn(act, rang=True, answers=answers))
        await asyncio.wait({work})
        failure = work.exception()
        if isinstance(failure, Rejected):
            log.warning("kept_refused", signal="warning", case=str(act.case), what=act.what, code=failure.code)
            self._strike(act)
        elif failure is not None:
            _say_unexpected(act, failure)
        elif not work.result().already_applied:
            for answer, _ in given:
                self._strike(answer)
        return None

    async def _answers(self, cry: Act) -> list[tuple[Act, AlarmAnswer]]:
        """What people did about a call since its first cry that was kept: it is learnt with that cry."""
        acts = [act for act in self._kept.values() if act.case == cry.case]
        if next(act for act in acts if act.urgent) is not cry:
            return []
        given = [act for act in acts if act.what in ANSWERS and not self._lapsed(act)]
        commands = [(act, await commanded(act, unseen, rang=True)) for act in given]
        return [(act, answer) for act, answer in commands if isinstance(answer, AlarmAnswer)]

    def _lapsed(self, act: Act) -> bool:
        city = self._kit.cities.get(act.city)
        lasts = timedelta(seconds=(city.clocks if city else Clocks()).claim)
        return act.what is What.CLAIM and self._kit.now() - act.at >= lasts


def _looked_at(work: "asyncio.Task[Learned[Call]]") -> None:
    if not work.cancelled():
        work.exception()


def _say_unexpected(act: Act, failure: BaseException) -> None:
    if not isinstance(failure, Unavailable):
        log.error("not_learnt", signal="warning", case=str(act.case), what=act.what, failure=type(failure).__name__)
