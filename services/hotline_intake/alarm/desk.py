"""One desk in the ledger row: awaited until it accepts, ringing when it is silent, claimed by whoever phones it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shared.contract.calls import AlarmClaimed, AlarmRaised, AlarmReleased, AlarmSettled, DeskConfirmed, RescueAwaited
from shared.contract.event import Event
from shared.contract.ledger import ALARMING, Phase

ALLOWED: Mapping[Phase | None, Mapping[type[Event], Phase]] = {
    None: {RescueAwaited: Phase.AWAITED, AlarmRaised: Phase.RINGING, DeskConfirmed: Phase.CONFIRMED},
    Phase.AWAITED: {
        RescueAwaited: Phase.AWAITED,
        AlarmRaised: Phase.RINGING,
        AlarmSettled: Phase.SETTLED,
        DeskConfirmed: Phase.CONFIRMED,
    },
    Phase.RINGING: {
        RescueAwaited: Phase.RINGING,
        AlarmRaised: Phase.RINGING,
        AlarmClaimed: Phase.CLAIMED,
        AlarmSettled: Phase.SETTLED,
        DeskConfirmed: Phase.CONFIRMED,
    },
    Phase.CLAIMED: {
        RescueAwaited: Phase.CLAIMED,
        AlarmRaised: Phase.CLAIMED,
        AlarmReleased: Phase.RINGING,
        AlarmSettled: Phase.SETTLED,
        DeskConfirmed: Phase.CONFIRMED,
    },
    Phase.SETTLED: {RescueAwaited: Phase.AWAITED, AlarmRaised: Phase.RINGING, DeskConfirmed: Phase.CONFIRMED},
    Phase.CONFIRMED: {
        RescueAwaited: Phase.AWAITED,
        AlarmRaised: Phase.RINGING,
        DeskConfirmed: Phase.CONFIRMED,
    },
}
"""What may happen to one desk; None is a desk the row does not know yet."""


@dataclass(frozen=True)
class AwaitedDesk:
    """One desk of the row. `n` is the highest call-out heard of, 0 where it was rung before any order came.

    `since` is when its phase began, `rung_at` when it last began to ring; `because` says why it rings or is confirmed.
    """

    phase: Phase
    since: datetime
    n: int = 0
    rung_at: datetime | None = None
    because: str | None = None
    by: str | None = None
    officer: str | None = None
    event_no: str | None = None

    @property
    def unassessed(self) -> bool:
        """Whether it rings only because saved answers had no assessment, or could not be heard of at all."""
        return self.phase is Phase.RINGING and self.n == 0 and self.because in {"unassessed", "store_silent"}

    @property
    def callout(self) -> int:
        """The call-out a phone call to this desk stands for."""
        return max(self.n, 1)

    def counts_on(self, n: int) -> bool:
        """Whether the ledger rests on this desk having accepted its `n`-th order."""
        return self.phase is Phase.CONFIRMED and self.n == n and self.because != "stood_down"

    def news(self, n: int) -> bool:
        """Whether the `n`-th order to this desk asks for something the ledger does not watch or have yet."""
        return n > self.n and not (self.phase is Phase.SETTLED and n == 1)


def evolve_desk(watch: AwaitedDesk | None, event: Event) -> AwaitedDesk:
    """The desk after `event`. An event the table does not allow is a bug, hence KeyError."""
    phase = ALLOWED[watch.phase if watch else None][type(event)]
    now = watch or AwaitedDesk(phase, event.at)
    moved = replace(now, phase=phase, since=now.since if phase is now.phase else event.at)
    match event:
        case AlarmRaised():
            return _rung(now, moved, event)
        case RescueAwaited() | DeskConfirmed():
            return _counted(moved, event)
        case AlarmClaimed():
            return replace(moved, by=event.by)
        case AlarmSettled():
            return replace(moved, by=event.by, officer=event.officer, event_no=event.event_no)
    return replace(moved, by=None)


def desk_no_later_than(at: datetime, watch: AwaitedDesk) -> AwaitedDesk:
    return replace(watch, since=min(watch.since, at), rung_at=watch.rung_at and min(watch.rung_at, at))


def _rung(before: AwaitedDesk, watch: AwaitedDesk, event: AlarmRaised) -> AwaitedDesk:
    if before.phase in ALARMING and before.rung_at is not None:
        return watch
    return replace(watch, rung_at=event.at, because=event.because, by=None, officer=None, event_no=None)


def _counted(watch: AwaitedDesk, event: RescueAwaited | DeskConfirmed) -> AwaitedDesk:
    watch = replace(watch, n=max(watch.n, event.n))
    if isinstance(event, DeskConfirmed):
        return replace(watch, because=event.because)
    return watch if watch.phase in ALARMING else AwaitedDesk(watch.phase, watch.since, watch.n)
