"""外呼: when a ringing alarm is told to people outside, again and again, and to how many of the city's chain."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contract.calls import AlarmPassedOn, AlarmRaised, AlarmReleased, AlarmSounded
from shared.contract.city import Clocks
from shared.contract.event import Event


@dataclass(frozen=True)
class Sounding:
    """How the alarm of one call was told outside. `ring` counts for as long as the call lives.

    The last ring went to the first `persons` of the chain at `at` (None: what rings has not been told, or somebody
    claimed it and gave up), and a channel has `taken` it or not.
    """

    ring: int = 0
    persons: int = 0
    at: datetime | None = None
    taken: bool = False


def lag(clocks: Clocks) -> timedelta:
    """How long the screens ring alone."""
    return timedelta(seconds=max(0.0, clocks.outside_at - clocks.ring_at))


def due_at(sounding: Sounding, rung: Collection[datetime], clocks: Clocks, chain: int) -> datetime | None:
    """When to ring outside next. `rung`: since when each desk rings; `chain`: how many people could be told at most."""
    if not rung or not chain:
        return None
    untold = [since + lag(clocks) for since in rung if sounding.at is None or since > sounding.at]
    if sounding.at is None or len(untold) == len(rung):
        return min(untold)
    return min(*untold, _again(sounding, sounding.at, clocks), _joined(sounding, min(rung), clocks, chain))


def persons(sounding: Sounding, rung: Collection[datetime], clocks: Clocks, now: datetime) -> int:
    """How many of the chain to tell now: one more a minute, and one more where no channel took the last ring."""
    by_time = 1 + (now - min(rung)) // timedelta(seconds=clocks.next_person)
    return max(by_time, sounding.persons + (not sounding.taken))


def evolve(sounding: Sounding, event: Event, *, quiet: bool) -> Sounding:
    """What was told, after `event`; `quiet` if nothing rang before it, and nobody was phoning."""
    match event:
        case AlarmRaised() if quiet:
            return Sounding(sounding.ring)
        case AlarmSounded():
            return Sounding(event.ring, event.persons, event.at)
        case AlarmPassedOn():
            return replace(sounding, taken=True)
        case AlarmReleased():
            return replace(sounding, at=None)
    return sounding


def _again(sounding: Sounding, at: datetime, clocks: Clocks) -> datetime:
    return at + timedelta(seconds=clocks.ring_again if sounding.taken else clocks.ring_untaken)


def _joined(sounding: Sounding, since: datetime, clocks: Clocks, chain: int) -> datetime:
    """When the next person's turn comes; never, once everybody is told."""
    turn = since + sounding.persons * timedelta(seconds=clocks.next_person)
    return turn if sounding.persons < chain else datetime.max.replace(tzinfo=since.tzinfo)
