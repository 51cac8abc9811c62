"""Who watches the watcher: whether another process still gives good beats, and when its silence must be told."""

from dataclasses import dataclass

SILENT_AFTER = 30.0
"""Seconds without a good beat after which people are told; with a look every 5 s they know within 60 (design §9)."""

PATIENT_AFTER_START = 60.0
"""Seconds a system that has just been started may take until the first good beat."""

AGAIN_EVERY = 300.0
"""Seconds after which a silence that lasts is told again: a system is dead, and no person's minute depends on it."""


@dataclass
class HeartbeatMonitor:
    """The beats of one process as another hears them. Moments are of the monotonic clock, in seconds."""

    started: float
    good: float | None = None
    told: float | None = None

    def beat(self, at: float) -> bool:
        """A good beat came; whether it ends a silence that had been told."""
        ended, self.good, self.told = self.told is not None, at, None
        return ended

    def silent(self, at: float) -> float:
        """Seconds without a good beat, since the start if there never was one."""
        return at - (self.started if self.good is None else self.good)

    def lost(self, at: float) -> bool:
        """Whether the silence has lasted too long."""
        return self.silent(at) >= (PATIENT_AFTER_START if self.good is None else SILENT_AFTER)

    def tells(self, at: float) -> bool:
        """Whether people must be told now; it counts as told."""
        due = self.lost(at) and (self.told is None or at - self.told >= AGAIN_EVERY)
        self.told = at if due else self.told
        return due
