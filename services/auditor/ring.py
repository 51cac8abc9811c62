"""The auditor's own bell: it tells people outside, past intake, Redis and Kafka."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from services.auditor.mirror import UnansweredDesk
from shared.notify.bell import Bell

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

    bell: Bell
    rung: dict[UnansweredDesk, float] = field(default_factory=dict)

    async def ring_desks(self, silences: Iterable[UnansweredDesk], at: float) -> int:
        """Ring for each of these, at most every 30 s, the first of them first; how many rang now."""
        wanted = dict.fromkeys(silences)
        self.rung = {one: until for one, until in self.rung.items() if one in wanted}
        due = [one for one in wanted if self.rung.get(one, at) <= at][:AT_ONCE]
        self.rung |= dict.fromkeys(due, at + AGAIN_EVERY)
        await asyncio.gather(*(self._ring(one, at) for one in due))
        return len(due)

    async def _ring(self, one: UnansweredDesk, at: float) -> None:
        words = self.bell.phone_now(one.city, one.case, [one.desk])
        # The whole chain: whom the auditor rings for has waited long enough.
        taken = await self.bell.tell(self.bell.cities.chain(one.city), words)
        log.error("rang", case=str(one.case), desk=one.desk, taken=taken, signal="alarm")
        if not taken:
            self.rung[one] = at + UNTAKEN_AGAIN
