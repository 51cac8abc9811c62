"""受理: what a seat asks is written down, then learnt; if the store is silent it is kept, rung, and learnt later."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from functools import reduce
from uuid import UUID, uuid5

import structlog

from services.hotline_intake.alarm.decide import AlarmAnswer
from services.hotline_intake.call import Call, CallUnknown, Escalate, RecordScreening
from services.hotline_intake.seat_act import KeptInJournal, SeatActRequest
from services.hotline_intake.seat_call import SeatCall
from services.hotline_intake.storeless.mirror import LedgerMirror, MirroredCall
from services.hotline_intake.storeless.nothing_took_it import NothingTookIt
from shared.contract.event import Event, Rejected
from shared.kernel.errors import Unavailable
from shared.kernel.machine.fingerprint import KeyReused, check_same_body
from shared.kernel.machine.keeper import IdempotencyKey, Keeper, Learned
from shared.kernel.process.journal import Journal, Unwritable
from shared.kernel.process.service import Kit

PATIENCE = 2.5
"""Seconds for the store to take an act; ours, so that the seat has its answer before its own 3 s are over."""

TWICE = 2
"""Readings before the door opens: the first may find a store without our functions, and load them."""

AT_ONCE = 16
"""Calls whose kept acts are learnt at the same time: their commits share one fsync."""

REPLAY_EVERY, OPEN_EVERY = 0.25, 5.0
"""Seconds."""

UNSEEN = "s1." + "A" * 40
"""What stands in memory for a sealed field: the row does not need it, and its key may be in the silent store."""

log = structlog.get_logger()


class Acceptance:
    """Takes acts of all seats. What it has answered for is in the store, or in the journal and in memory."""

    def __init__(self, kit: Kit, calls: Keeper[Call], journal: Journal, mirror: LedgerMirror) -> None:
        self._kit = kit
        self._calls = calls
        self._journal = journal
        self._mirror = mirror
        self._kept: dict[UUID, SeatActRequest] = {}
        self._waits = asyncio.Event()

    async def take(self, request: SeatActRequest) -> Learned[Call] | KeptInJournal:
        """The call after the act, or as it is kept.

        Raises Rejected, NothingTookIt or Unavailable: then it was not taken. KeyError on a line without a pack.
        A cry for help under a key that came before, with another body, is another cry.
        """
        try:
            return await self._take(request)
        except KeyReused:
            if not request.act.urgent:
                raise
            another = replace(request.key, id=uuid5(request.key.id, request.key.fingerprint))
            return await self._take(replace(request, key=another))

    async def _take(self, request: SeatActRequest) -> Learned[Call] | KeptInJournal:
        act = request.act
        act.check(self._kit.cities, self._kit.cities[request.city])
        if request.key.id in self._kept:
            return self._keep_again(request)
        written = act.urgent and self._write(request)
        if self._mirror.silent or self._mirror.known_call(request.address).ahead_of_store:
            return await self._keep(request, written)
        work = asyncio.create_task(self._learn(request, rang=self._mirror.has_rung(request.address)))
        work.add_done_callback(_retrieve_failure)
        await asyncio.wait({work}, timeout=PATIENCE)
        failure = work.exception() if work.done() else Unavailable("The store does not answer in time.")
        if failure is None:
            return work.result()
        if isinstance(failure, Rejected) or not (act.urgent or isinstance(failure, Unavailable)):
            raise failure
        _log_unexpected(request, failure)
        self._mirror.note_silence()
        return await self._keep(request, written)

    async def find_before(self, seat_call: SeatCall) -> Call | None:
        """The call as the store has it, unless that is silent."""
        if self._mirror.silent:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await seat_call.find()
        except (TimeoutError, Unavailable):
            self._mirror.note_silence()
            return None

    async def replay_at_start(self) -> None:
        """Read the journal, and let the store learn what is in it if it answers: before the door opens."""
        await self._open()
        for _ in range(TWICE):
            await self._mirror.read_store()
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
        for entry, what in self._journal.open_entries.items():
            try:
                request = SeatActRequest.from_journal(what)
            except (LookupError, TypeError, ValueError):  # of another release; the seats' door opens all the same
                self._journal.set_aside(entry, str(what["case"]) if "case" in what else "")
            else:
                if request.key.id not in self._kept:
                    await self._remember(request)

    async def _remember(self, request: SeatActRequest) -> None:
        """An act of an earlier life stands again as it did, so that it rings, and the same key finds it."""
        self._note(request)
        try:
            row, events = await self._decided(request)
        except (Rejected, Unavailable):
            return  # what it was about is only in the store: learnt there
        self._mirror.apply_events(request.address, row, events, request.key.id)

    def _note(self, request: SeatActRequest) -> None:
        self._kept[request.key.id] = request
        self._waits.set()

    def _write(self, request: SeatActRequest) -> bool:
        try:
            self._journal.write_entry(request.key.id, request.to_journal())
        except Unwritable as refusal:
            log.warning("journal_unwritable", signal="warning", why=str(refusal))
            return False
        return True

    def _keep_again(self, request: SeatActRequest) -> KeptInJournal:
        check_same_body(self._kept[request.key.id].key.fingerprint, request.key.fingerprint)
        if request.key.id not in self._journal.open_entries and not self._write(request):
            raise self._nothing_took(request)
        return KeptInJournal(request, self._mirror.known_call(request.address).call)

    async def _keep(self, request: SeatActRequest, written: bool) -> KeptInJournal:
        """Ring it from memory, now. Raises Rejected, NothingTookIt or Unavailable."""
        try:
            row, events = await self._decided(request)
        except Rejected:
            self._journal.mark_done(request.key.id)
            raise
        written = written or self._write(request)
        if not (written or request.act.urgent):
            raise Unavailable("Neither the store nor the journal takes it now.")
        self._note(request)
        self._mirror.apply_events(request.address, row, events, request.key.id)
        if not written:
            raise self._nothing_took(request)
        return KeptInJournal(request, row.call)

    async def _decided(self, request: SeatActRequest) -> tuple[MirroredCall, tuple[Event, ...]]:
        """The row and what would be said of it, were memory the store."""
        row = self._mirror.known_call(request.address)
        command = await request.act.command(request, _unseen, rang=True)
        row.drill = request.key.drill if row.call.case is None else row.drill
        try:
            return row, self._mirror.decide_now(row.call, command)
        except CallUnknown:
            if not request.act.urgent:
                raise Unavailable("The store is silent, and without it this call is not known here.") from None
        opening = self._mirror.decide_now(row.call, request.opening)
        opened = reduce(self._calls.machine.evolve, opening, row.call)
        return row, (*opening, *self._mirror.decide_now(opened, command))

    def _nothing_took(self, request: SeatActRequest) -> NothingTookIt:
        return NothingTookIt(self._kit.cities[request.city], request.case)

    async def _learn(
        self, request: SeatActRequest, *, rang: bool, answers: tuple[AlarmAnswer, ...] | None = None
    ) -> Learned[Call]:
        try:
            try:
                learned = await self._learn_once(request, rang, answers)
            except Unavailable:  # a lost function or a key made twice at one moment mends itself
                learned = await self._learn_once(request, rang, answers)
        except Rejected:
            if request.key.id not in self._kept:
                self._journal.mark_done(request.key.id)
            raise
        self._strike(request)
        self._mirror.note_commit(request.address, learned)
        return learned

    async def _learn_once(
        self, request: SeatActRequest, rang: bool, answers: tuple[AlarmAnswer, ...] | None
    ) -> Learned[Call]:
        seal = SeatCall(self._calls, self._kit.vault, request.address).seal
        command = await request.act.command(request, seal, rang=rang)
        if isinstance(command, Escalate | RecordScreening):
            command = command.model_copy(update={"answered": answers})
        try:
            return await self._calls.learn(command, request.key)
        except CallUnknown:
            if not request.act.urgent:
                raise
        opening = IdempotencyKey(uuid5(request.key.id, "opening"), drill=request.key.drill)
        await self._calls.learn(request.opening, opening)
        return await self._calls.learn(command, request.key)

    def _strike(self, request: SeatActRequest) -> None:
        self._journal.mark_done(request.key.id)
        if self._kept.pop(request.key.id, None):
            self._mirror.strike_kept(request.address, request.key.id)

    async def _replay(self) -> None:
        """Let the store learn what was kept, each call's in order; first the calls about which somebody is phoning."""
        answered = {request.case for request in self._kept.values() if request.act.answers_alarm}
        cases: defaultdict[UUID, list[SeatActRequest]] = defaultdict(list)
        for request in sorted(self._kept.values(), key=lambda kept: kept.case not in answered):
            cases[request.case].append(request)
        together = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._replay_case(requests, together) for requests in cases.values()))

    async def _replay_case(self, requests: list[SeatActRequest], together: asyncio.Semaphore) -> None:
        async with together:
            for request in requests:
                if request.key.id in self._kept and not self._mirror.silent:
                    await self._learn_kept(request)
                if request.key.id in self._kept:  # what comes after it waits for it
                    return

    async def _learn_kept(self, request: SeatActRequest) -> None:
        if self._lapsed(request):
            return self._strike(request)
        urgent = request.act.urgent
        given = await self._answers(request) if urgent else []
        answers = tuple(answer for _, answer in given) if urgent else None
        work = asyncio.create_task(self._learn(request, rang=True, answers=answers))
        await asyncio.wait({work})
        failure = work.exception()
        if isinstance(failure, Rejected):
            told = {"case": str(request.case), "what": request.act.kind, "code": failure.code}
            log.warning("kept_refused", signal="warning", **told)
            self._strike(request)
        elif failure is not None:
            _log_unexpected(request, failure)
        elif not work.result().already_applied:
            for answer, _ in given:
                self._strike(answer)
        return None

    async def _answers(self, cry: SeatActRequest) -> list[tuple[SeatActRequest, AlarmAnswer]]:
        """What people did about a call since its first cry that was kept: it is learnt with that cry."""
        requests = [request for request in self._kept.values() if request.case == cry.case]
        if next(request for request in requests if request.act.urgent) is not cry:
            return []
        given = [request for request in requests if request.act.answers_alarm and not self._lapsed(request)]
        commands = [(request, await request.act.command(request, _unseen, rang=True)) for request in given]
        return [(request, answer) for request, answer in commands if isinstance(answer, AlarmAnswer)]

    def _lapsed(self, request: SeatActRequest) -> bool:
        lasts = timedelta(seconds=self._kit.cities.line_clocks(request.city).claim)
        return request.act.claims and self._kit.now() - request.at >= lasts


async def _unseen(_field: str, _value: object) -> str:
    return UNSEEN


def _retrieve_failure(work: "asyncio.Task[Learned[Call]]") -> None:
    if not work.cancelled():
        work.exception()


def _log_unexpected(request: SeatActRequest, failure: BaseException) -> None:
    if not isinstance(failure, Unavailable):
        told = {"case": str(request.case), "what": request.act.kind, "failure": type(failure).__name__}
        log.error("not_learnt", signal="warning", **told)
