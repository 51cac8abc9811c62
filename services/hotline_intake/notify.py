"""外呼: tells the people of a city's chain which desk to phone now, and when it is over; words and numbers, no more."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid5

import structlog

from services.hotline_intake.alarm.decide import ConfirmRing
from services.hotline_intake.call import Call
from services.hotline_intake.views import desk_name, desk_number
from shared.contract.calls import AlarmSettled, AlarmSounded, DeskConfirmed, WatchCleared
from shared.contract.city import Cities, OnCall
from shared.contract.terms import desk_kind, spoken_number
from shared.kernel.errors import Unavailable
from shared.kernel.machine.keeper import NAMES, IdempotencyKey
from shared.notify import channels
from shared.notify.channels import SendMessage

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

    cities: Cities
    queue: asyncio.Queue[OutsideNotice] = field(default_factory=asyncio.Queue)

    def ring(self, call: Call, event: AlarmSounded, drill: bool) -> None:
        """Phone these desks now."""
        desks = "、".join(self._desk(call, desk) for desk in event.desks)
        words = channels.phone_now_message(self._spoken(event), desks)
        self.queue.put_nowait(OutsideNotice(event.case, event.city, event.persons, words, drill, event.ring))

    def over(self, call: Call, event: DeskConfirmed | AlarmSettled | WatchCleared, drill: bool) -> None:
        """Whoever was told to phone is told that they need not."""
        told = call.alarm.sounding.persons
        rang = call.alarm.desks[event.desk].rung_at is not None if isinstance(event, AlarmSettled) else event.rang
        if rang and told:
            words = f"{channels.message_heading(self._spoken(event))} {self._ending(event)}"
            self.queue.put_nowait(OutsideNotice(event.case, event.city, told, words, drill))

    def _ending(self, event: DeskConfirmed | AlarmSettled | WatchCleared) -> str:
        if isinstance(event, WatchCleared):
            return "无需再打 no need to phone"
        if isinstance(event, DeskConfirmed) and event.because == "stood_down":
            return f"{self._name(event.desk)} 已撤回，无需再打 stood down, no need to phone"
        return f"{self._name(event.desk)} 已接警 has it"

    def _spoken(self, event: AlarmSounded | DeskConfirmed | AlarmSettled | WatchCleared) -> str:
        return spoken_number(self.cities[event.city].area_code, event.case)

    def _name(self, desk: str) -> str:
        return desk_name(self.cities, desk) or desk_kind(desk)

    def _desk(self, call: Call, desk: str) -> str:
        return f"{self._name(desk)} {desk_number(self.cities, call, desk) or desk_kind(desk)}"


@dataclass(frozen=True, eq=False)
class OutsideNotifier:
    """The one teller of this process. `environment` holds the channels' addresses, by the names in the city packs."""

    learn: Callable[[ConfirmRing, IdempotencyKey], Awaitable[None]]
    notices: NoticeQueue
    tell: SendMessage
    environment: Mapping[str, str]

    async def run(self) -> None:
        """Tell what is due, for ever. Nobody waits for anybody else's channel."""
        async with asyncio.TaskGroup() as telling:
            telling.create_task(self.look())
            while True:
                telling.create_task(self._told(await self.notices.queue.get()))

    async def look(self) -> None:
        """Say once which people could not be told outside, while there is time to mend it."""
        for code, city in self.notices.cities.items():
            if not city.chain:
                log.warning("screens_alone_ring", city=code, signal="warning", do="name channels in the city pack")
            for variable in (name for person in city.chain for name in person.channels):
                address = self.environment.get(variable)
                if not address or not await channels.is_usable(address):
                    log.warning("no_channel", city=code, variable=variable, signal="warning", do="set it for apprise")

    async def _told(self, notice: OutsideNotice) -> None:
        people = self.notices.cities[notice.city].chain[: notice.persons]
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
        taken = await self.tell(channels.channel_addresses([person], self.environment), notice.words)
        if not taken:
            log.warning("nobody_told_outside", person=person.name, channels=person.channels, signal="warning")
        return taken
