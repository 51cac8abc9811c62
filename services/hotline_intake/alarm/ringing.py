"""外呼: when a ringing alarm is told to people outside, again and again, and to how many of the city's chain."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.contract.calls import AlarmPassedOn, AlarmRaised, AlarmSounded
from shared.contract.city import Clocks
from shared.contract.event import Event

AT_ONCE = timedelta(milliseconds=1)
"""After a claim is over; not its very moment, at which another deadline may have passed: none ever passes twice."""


NEVER = datetime.max.replace(tzinfo=UTC)


class RingingDesk(Protocol):
    """What the schedule knows of a desk: since when it is in its phase, and since when it rings."""

    @property
    def since(self) -> datetime: ...

    @property
    def rung_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class RingingSchedule:
    """How the alarm of one call was told outside. `ring` counts for as long as the call lives.

    The last ring went to the first `persons` of the chain at `at`, and a channel has `taken` it or not.
    """

    ring: int = 0
    persons: int = 0
    at: datetime | None = None
    taken: bool = False


def screens_alone(clocks: Clocks) -> timedelta:
    """How long the screens ring alone."""
    return timedelta(seconds=max(0.0, clocks.outside_at - clocks.ring_at))


def next_ring_at(
    sounding: RingingSchedule, ringing: Collection[RingingDesk], clocks: Clocks, chain: int
) -> datetime | None:
    """When to tell people outside next of what is `ringing`; `chain` is how many of them there are."""
    if not ringing or not chain:
        return None
    untold = [desk for desk in ringing if sounding.at is None or desk.since > sounding.at]
    moments = [max(_began(desk) + screens_alone(clocks), desk.since + AT_ONCE) for desk in untold]
    if sounding.at is not None and len(untold) < len(ringing):
        moments += (_again(sounding, sounding.at, clocks), _joined(sounding, ringing, clocks, chain))
    return min(moments)


def persons_to_tell(sounding: RingingSchedule, ringing: Collection[RingingDesk], clocks: Clocks, now: datetime) -> int:
    """How many of the chain to tell now: one more a minute, and one more where no channel took the last ring."""
    by_time = 1 + (now - min(map(_began, ringing))) // timedelta(seconds=clocks.next_person)
    return max(by_time, sounding.persons + (not sounding.taken))


def evolve_ringing(sounding: RingingSchedule, event: Event, *, quiet: bool) -> RingingSchedule:
    """What was told, after `event`; `quiet` if nothing rang before it, and nobody was phoning."""
    match event:
        case AlarmRaised() if quiet:
            return RingingSchedule(sounding.ring)
        case AlarmSounded():
            return RingingSchedule(event.ring, event.persons, event.at)
        case AlarmPassedOn():
            return replace(sounding, taken=True)
    return sounding


def ringing_no_later_than(at: datetime, sounding: RingingSchedule) -> RingingSchedule:
    return replace(sounding, at=sounding.at and min(sounding.at, at))


def _again(sounding: RingingSchedule, at: datetime, clocks: Clocks) -> datetime:
    return at + timedelta(seconds=clocks.ring_again if sounding.taken else clocks.ring_untaken)


def _joined(sounding: RingingSchedule, ringing: Collection[RingingDesk], clocks: Clocks, chain: int) -> datetime:
    """When the next person's turn comes; never, once everybody is told."""
    if sounding.persons >= chain:
        return NEVER
    return min(map(_began, ringing)) + sounding.persons * timedelta(seconds=clocks.next_person)


def _began(desk: RingingDesk) -> datetime:
    return desk.rung_at or desk.since
