"""What the auditor does all the time: reads, mirrors, compares, drills, rings, and beats while everything agrees."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from services.auditor import mirror
from services.auditor.clients import ADAPTER, INTAKE, PeerClients
from services.auditor.compare import Finding, compare_snapshots, lasting_findings
from services.auditor.dead_letter import DeadLetter
from services.auditor.drill import Drill, drill_case
from services.auditor.kafka_reader import PAST, KafkaReader
from services.auditor.mirror import UnansweredDesk
from services.auditor.ring import AuditorRing
from services.auditor.snapshots import Snapshots
from shared.contract.callouts import OpenCallOut
from shared.contract.city import Cities
from shared.contract.ledger import LedgerSnapshot
from shared.contract.terms import desk_id
from shared.kernel.errors import Unavailable
from shared.notify.heartbeat import HeartbeatMonitor

MIRROR_EVERY, COMPARE_EVERY = 1.0, 5.0
KAFKA, FRESH = "kafka", {"kafka": 12.0, INTAKE: 6.0, ADAPTER: 12.0}
"""Seconds for which a picture is worth something: a little more than two looks. An intake that is not heard of for so
long is dead, and the auditor rings; a busy one may take four to answer."""

DEAD_LETTER_RINGS = timedelta(minutes=10)
"""A person's danger in a dead-letter topic rings as long as this; then people know, and replay it or not."""

INTAKE_SILENT = "【警医】系统告警：热线受理不应答，请立即检查 system alarm: intake does not answer"

log = structlog.get_logger()


@dataclass(eq=False)
class Auditor:
    """Everything it knows lies in memory, and is had again from Kafka and intake after a restart.

    `answered` has the moment of each source's last good answer, by the monotonic clock.
    """

    peers: PeerClients
    reader: KafkaReader
    ring: AuditorRing
    cities: Cities
    now: Callable[[], datetime]
    drills: dict[str, Drill]
    ledger: LedgerSnapshot = field(default_factory=LedgerSnapshot)
    callouts: tuple[OpenCallOut, ...] = ()
    answered: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    compared_at: float | None = None
    _noticed: dict[Any, datetime] = field(default_factory=dict)
    silent: dict[str, datetime] = field(default_factory=dict)
    _whole_since: datetime | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reader.run(self.now() - PAST))
            tasks.create_task(self._mirror())
            tasks.create_task(self._compare())
            tasks.create_task(self._drill())

    @property
    def dead_letters(self) -> list[DeadLetter]:
        return self.reader.dead

    @property
    def agrees(self) -> bool:
        """Whether everything was compared just now, nothing differed, and the last drill came back."""
        lately = self.compared_at is not None and _clock() - self.compared_at < 2 * COMPARE_EVERY + 1
        return lately and not self.findings and not any(drill.failed for drill in self.drills.values())

    async def _mirror(self) -> None:
        """Keep the ledger in memory; while intake is dead, ring from it."""
        pulse = HeartbeatMonitor(_clock())
        while True:
            begun = _clock()
            with suppress(Unavailable):
                self.ledger = mirror.merge_ledgers(self.ledger, await self.peers.ledger())
                self.answered[INTAKE] = _clock()
                if pulse.beat(_clock()):
                    log.info("intake_answers_again")
            if not self._fresh(INTAKE) and (pulse.good is not None or pulse.lost(begun)):
                await self.ring.ring_desks(
                    mirror.overdue_desks(self.ledger, self.reader.accounts, self.cities, self.now()), begun
                )
            if pulse.tells(_clock()):
                log.error("intake_silent", seconds=round(pulse.silent(_clock())), signal="alarm")
                await self.ring.bell.tell_everybody(INTAKE_SILENT)
            await asyncio.sleep(max(0.0, begun + MIRROR_EVERY - _clock()))

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_EVERY)
            with suppress(Unavailable):
                self.callouts = await self.peers.callouts()
                self.answered[ADAPTER] = _clock()
            now = self.now()
            self._noticed, findings = lasting_findings(compare_snapshots(self._snapshots(now), now), self._noticed, now)
            self._say_what_changed(findings)
            self.findings, self.compared_at = findings, _clock()
            self.reader.forget(now)
            if self._fresh(INTAKE):  # while intake is dead the mirror rings
                await self.ring.ring_desks(self._alarms(now), _clock())

    def _snapshots(self, now: datetime) -> Snapshots:
        if self.reader.whole_at is not None:
            self.answered[KAFKA] = self.reader.whole_at
        fresh = {source for source in FRESH if self._fresh(source)}
        self.silent = {source: self.silent.get(source, now) for source in FRESH if source not in fresh}
        self._whole_since = (self._whole_since or now) if KAFKA in fresh else None
        return Snapshots(
            accounts=self.reader.accounts if KAFKA in fresh else None,
            ledger=self.ledger if INTAKE in fresh else None,
            callouts=self.callouts if ADAPTER in fresh else None,
            whole_since=self._whole_since or now,
            silent=self.silent,
        )

    def _fresh(self, source: str) -> bool:
        return _clock() - self.answered.get(source, float("-inf")) < FRESH[source]

    def _alarms(self, now: datetime) -> Iterable[UnansweredDesk]:
        for one in self.findings:
            if one.alarm and one.case is not None:
                yield UnansweredDesk(one.case, one.city, one.phone)
        for letter in self.dead_letters:
            if letter.danger and letter.case and now - letter.at < DEAD_LETTER_RINGS and not self._resolved(letter):
                yield UnansweredDesk(letter.case, letter.city, desk_id(letter.city, "110"))

    def _resolved(self, letter: DeadLetter) -> bool:
        account = self.reader.accounts.get(letter.case) if letter.case else None
        return account is not None and letter.event_id in account.answered

    def _say_what_changed(self, findings: tuple[Finding, ...]) -> None:
        before, after = {one.key for one in self.findings}, {one.key for one in findings}
        for one in findings:
            if one.key not in before:
                case = str(one.case) if one.case else None
                signal = "alarm" if one.alarm else "warning"
                log.warning("differs", what=one.what, case=case, desk=one.desk, signal=signal)
        if before and not after:
            log.info("agrees_again")

    async def _drill(self) -> None:
        """Once everything answers, drill each shard each minute."""
        while True:
            await asyncio.sleep(1)
            for shard, drill in self.drills.items():
                self.drills[shard] = await self._step(drill)

    async def _step(self, drill: Drill) -> Drill:
        if drill.under_way:
            looked = drill.look(self._account(drill.case), _clock())
            if looked.failed and not drill.failed:
                log.warning("drill_failed", city=drill.city, signal="warning")
            return looked
        ready = self._fresh(INTAKE) and self.reader.whole_at is not None
        if not drill.due(_clock()) or not (ready or drill.sent is not None):
            return drill
        now = self.now()
        case = drill_case(drill.city, now, drill.given_up)
        started = drill.start(case, self._account(case), _clock())
        try:
            await self.peers.drill(drill.city, case, now)
        except Unavailable:
            log.warning("drill_failed", city=drill.city, at="intake", signal="warning")
            return started.fail(None)
        return started

    def _account(self, case: UUID | None) -> Any:
        return self.reader.accounts.get(case) if case else None


def _clock() -> float:
    return asyncio.get_running_loop().time()
