"""The ledger row of a person in danger: which desks are waited for, since when, and when their silence is an alarm."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.hotline_intake.alarm import ringing
from services.hotline_intake.alarm.desk import AwaitedDesk, desk_no_later_than, evolve_desk
from services.hotline_intake.alarm.ringing import RingingSchedule
from shared.contract.calls import (
    AlarmClaimed,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    DeskConfirmed,
    EscalationRequested,
    RescueAwaited,
    ScreeningRecorded,
    WatchCleared,
)
from shared.contract.city import Clocks
from shared.contract.event import Event
from shared.contract.ledger import ALARMING, OPEN, Phase

POLICE = ("110",)
"""Whom to phone while nothing is known: the line's own city's 110."""

UNHEARD = frozenset({"unassessed", "unordered", "store_silent"})
"""Why a desk rings although nobody has been called out."""


@dataclass(frozen=True)
class AlarmRow:
    """The row. `armed_at` starts its clocks; `unheard_since` stands while a cry for help has had no answer at all.

    `asked` are the kinds of desk to ring if none comes; `screening` is the latest danger-positive one.
    """

    armed_at: datetime | None = None
    unheard_since: datetime | None = None
    by_hand: bool = False
    screening: UUID | None = None
    asked: tuple[str, ...] = ()
    desks: dict[str, AwaitedDesk] = field(default_factory=dict)
    sounding: RingingSchedule = field(default_factory=RingingSchedule)

    @property
    def standing(self) -> bool:
        """Whether somebody is still waited for."""
        return self.unheard_since is not None or any(desk.phase in OPEN for desk in self.desks.values())

    @property
    def alarming(self) -> bool:
        return any(desk.phase in ALARMING for desk in self.desks.values())

    @property
    def ringing(self) -> dict[str, AwaitedDesk]:
        return {name: desk for name, desk in self.desks.items() if desk.phase is Phase.RINGING}


def unheard_due_at(alarm: AlarmRow, clocks: Clocks) -> datetime | None:
    return alarm.unheard_since and alarm.unheard_since + timedelta(seconds=clocks.assess_by)


def desk_due_at(alarm: AlarmRow, desk: AwaitedDesk, clocks: Clocks) -> datetime | None:
    if desk.phase is Phase.CLAIMED:
        return desk.since + timedelta(seconds=clocks.claim)
    if desk.phase is not Phase.AWAITED:
        return None
    ring = timedelta(seconds=clocks.ring_at)
    first = (alarm.armed_at or desk.since) + ring
    # A desk called out after the row's own ring (another city, a second order) gets its full time to accept.
    return first if desk.since <= first else desk.since + ring


def silent_at(alarm: AlarmRow, clocks: Clocks) -> datetime | None:
    moments = [unheard_due_at(alarm, clocks), *(desk_due_at(alarm, desk, clocks) for desk in alarm.desks.values())]
    return min((moment for moment in moments if moment is not None), default=None)


def sounds_at(alarm: AlarmRow, clocks: Clocks, chain: int) -> datetime | None:
    """When people outside are told next; `chain` is how many of them there are."""
    return ringing.next_ring_at(alarm.sounding, alarm.ringing.values(), clocks, chain)


def deadline(alarm: AlarmRow, clocks: Clocks, chain: int) -> datetime | None:
    """The next moment at which the ledger does something by itself."""
    moments = (silent_at(alarm, clocks), sounds_at(alarm, clocks, chain))
    return min((moment for moment in moments if moment is not None), default=None)


def evolve(alarm: AlarmRow, event: Event) -> AlarmRow:
    """The row after `event`. A moment that a clock gone astray has set ahead of it is pulled in to it."""
    alarm = _by(event.at, alarm)
    alarm = replace(alarm, sounding=ringing.evolve_ringing(alarm.sounding, event, quiet=not alarm.alarming))
    match event:
        case ScreeningRecorded(danger=True):
            return replace(alarm if alarm.standing else _arm(alarm, event.at), screening=event.screening)
        case EscalationRequested():
            return _arm_by_hand(alarm, event)
        case WatchCleared():
            kept = {name: desk for name, desk in alarm.desks.items() if not desk.unassessed}
            return replace(alarm, unheard_since=None, desks=kept)
        case RescueAwaited():
            return _see(replace(alarm, armed_at=alarm.armed_at or event.at, unheard_since=None), event.desks, event)
        case AlarmRaised():
            heard = None if event.because in UNHEARD else alarm.unheard_since
            return _see(replace(alarm, unheard_since=heard), event.desks, event)
        case DeskConfirmed():
            # Whoever answers to an order is proof that the order was given.
            ordered = event.desk not in alarm.desks or event.n > alarm.desks[event.desk].n
            return _see(replace(alarm, unheard_since=None if ordered else alarm.unheard_since), (event.desk,), event)
        case AlarmClaimed() | AlarmReleased() | AlarmSettled():
            return _see(alarm, (event.desk,), event)
    return alarm


def _by(at: datetime, alarm: AlarmRow) -> AlarmRow:
    """Nothing in the row began after what is said now: silence would last until that moment came."""
    return replace(
        alarm,
        armed_at=alarm.armed_at and min(alarm.armed_at, at),
        unheard_since=alarm.unheard_since and min(alarm.unheard_since, at),
        desks={name: desk_no_later_than(at, desk) for name, desk in alarm.desks.items()},
        sounding=ringing.ringing_no_later_than(at, alarm.sounding),
    )


def _arm(alarm: AlarmRow, at: datetime) -> AlarmRow:
    return replace(alarm, armed_at=at, unheard_since=at, by_hand=False, asked=POLICE)


def _arm_by_hand(alarm: AlarmRow, event: EscalationRequested) -> AlarmRow:
    before = alarm.asked if alarm.unheard_since is not None else ()
    armed = alarm if alarm.standing else _arm(alarm, event.at)
    asked = tuple(dict.fromkeys((*before, *(event.desks or POLICE))))
    return replace(armed, by_hand=True, asked=asked, unheard_since=armed.unheard_since or event.at)


def _see(alarm: AlarmRow, desks: tuple[str, ...], event: Event) -> AlarmRow:
    seen = {name: evolve_desk(alarm.desks.get(name), event) for name in desks}
    return replace(alarm, desks=alarm.desks | seen)
