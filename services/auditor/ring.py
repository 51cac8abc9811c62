"""The auditor's own bell: it tells people outside, past intake, Redis and Kafka."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from services.auditor.mirror import UnansweredDesk
from shared.contract.city import Cities
from shared.contract.terms import desk_city, spoken_number
from shared.notify.channels import SendMessage, channel_addresses, phone_now_message

AGAIN_EVERY = 30.0
"""Seconds after which a person in danger is rung for again."""

UNTAKEN_AGAIN = 5.0
"""The same where no channel took it."""

AT_ONCE = 100
"""Rings that begin together, the longest silent first: a channel takes about so many in the time it is given."""

log = structlog.get_logger()


@dataclass(eq=False)
class AuditorRing:
    """`rung` remembers for whom it rang and until when that counts, by the monotonic clock."""

    cities: Cities
    tell: SendMessage
    rung: dict[UnansweredDesk, float] = field(default_factory=dict)

    async def ring(self, silences: Iterable[UnansweredDesk], at: float) -> int:
        """Ring for each of these, at most every 30 s, the first of them first; how many rang now."""
        wanted = dict.fromkeys(silences)
        self.rung = {one: until for one, until in self.rung.items() if one in wanted}
        due = [one for one in wanted if self.rung.get(one, at) <= at][:AT_ONCE]
        self.rung |= dict.fromkeys(due, at + AGAIN_EVERY)
        await asyncio.gather(*(self._ring(one, at) for one in due))
        return len(due)

    async def _ring(self, one: UnansweredDesk, at: float) -> None:
        city = self.cities.get(one.city)  # its whole chain: whom the auditor rings for has waited long enough
        taken = await self.tell(
            channel_addresses(city.chain if city else (), os.environ), ring_message(self.cities, one)
        )
        log.error("rang", case=str(one.case), desk=one.desk, taken=taken, signal="alarm")
        if not taken:
            self.rung[one] = at + UNTAKEN_AGAIN

    async def say(self, sentence: str) -> bool:
        """Tell every city's people about the system itself, without a case."""
        urls = {url for city in self.cities.values() for url in channel_addresses(city.chain, os.environ)}
        return await self.tell(sorted(urls), sentence)


def ring_message(cities: Cities, one: UnansweredDesk) -> str:
    """Spoken number, desk, phone now, and nothing else."""
    pack = cities.get(one.city)
    spoken = spoken_number(pack.area_code, one.case) if pack else str(one.case)[-6:]
    city = cities.get(desk_city(one.desk))
    desk = city.entry(one.desk) if city else None
    return phone_now_message(spoken, f"{desk.name} {desk.number}" if desk else one.desk)
