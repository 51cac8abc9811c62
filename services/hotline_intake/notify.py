"""外呼: tells the people of a city's chain which desk to phone now, and when it is over; words and numbers, no more."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid5

import structlog

from services.hotline_intake.alarm.decide import ConfirmRing
from services.hotline_intake.call import Call
from shared.contract.calls import AlarmSettled, AlarmSounded, DeskConfirmed, WatchCleared
from shared.contract.city import OnCall
from shared.kernel.errors import Unavailable
from shared.kernel.machine.keeper import NAMES, IdempotencyKey
from shared.notify.bell import Bell

log = structlog.get_logger()


@dataclass(frozen=True)
class OutsideNotice:
    """Words for the first `persons` of a city's chain; `ring` is confirmed once a channel has taken them."""

    case: UUID
    city: str
    persons: int
    words: str
    drill: bool
    ring: int | None = None


@dataclass(frozen=True, eq=False)
class NoticeQueue:
    """What was just committed to be told. Fed by the kernel after the commit."""

    bell: Bell
    queue: asyncio.Queue[OutsideNotice] = field(default_factory=asyncio.Queue)

    def ring(self, call: Call, event: AlarmSounded, drill: bool) -> None:
        words = self.bell.phone_now(event.city, event.case, event.desks, call.place)
        self.queue.put_nowait(OutsideNotice(event.case, event.city, event.persons, words, drill, event.ring))

    def over(self, call: Call, event: DeskConfirmed | AlarmSettled | WatchCleared, drill: bool) -> None:
        """Whoever was told to phone is told that they need not."""
        told = call.alarm.sounding.persons
        rang = call.alarm.desks[event.desk].rung_at is not None if isinstance(event, AlarmSettled) else event.rang
        if rang and told:
            words = self.bell.case_words(event.city, event.case, self._ending(event))
            self.queue.put_nowait(OutsideNotice(event.case, event.city, told, words, drill))

    def _ending(self, event: DeskConfirmed | AlarmSettled | WatchCleared) -> str:
        if isinstance(event, WatchCleared):
            return "无需再打 no need to phone"
        if isinstance(event, DeskConfirmed) and event.because == "stood_down":
            return f"{self.bell.desk_name(event.desk)} 已撤回，无需再打 stood down, no need to phone"
        return f"{self.bell.desk_name(event.desk)} 已接警 has it"


@dataclass(frozen=True, eq=False)
class OutsideNotifier:
    """The one teller of this process."""

    learn: Callable[[ConfirmRing, IdempotencyKey], Awaitable[None]]
    notices: NoticeQueue

    async def run(self) -> None:
        """Tell what is due, for ever. Nobody waits for anybody else's channel."""
        async with asyncio.TaskGroup() as telling:
            telling.create_task(self.notices.bell.check_channels())
            while True:
                telling.create_task(self._told(await self.notices.queue.get()))

    async def _told(self, notice: OutsideNotice) -> None:
        people = self.notices.bell.cities.chain(notice.city)[: notice.persons]
        # A drill rings nobody; what its ledger does next is tried all the same.
        taken = [True] if notice.drill else await asyncio.gather(*(self._tell(who, notice) for who in people))
        if notice.ring is not None and not notice.drill:
            told = {"case": str(notice.case), "ring": notice.ring, "persons": notice.persons}
            log.warning("rang", **told, taken=any(taken), signal="alarm")
        if notice.ring is not None and any(taken):
            command = ConfirmRing(case=notice.case, city=notice.city, ring=notice.ring)
            with suppress(Unavailable):  # what is not confirmed is repeated
                await self.learn(command, IdempotencyKey(uuid5(NAMES, f"{notice.case}|ring|{notice.ring}")))

    async def _tell(self, person: OnCall, notice: OutsideNotice) -> bool:
        taken = await self.notices.bell.tell([person], notice.words)
        if not taken:
            log.warning("nobody_told_outside", person=person.name, channels=person.channels, signal="warning")
        return taken
