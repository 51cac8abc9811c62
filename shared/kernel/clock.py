"""The only place that reads the wall clock, how the store writes a moment, and what a late loop makes of one."""

import asyncio
import time
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

BEAT = 0.25
"""Seconds between two beats of a running loop."""

SCHEDSTAT = Path("/proc/thread-self/schedstat")
"""Nanoseconds that a thread ran, and that it waited for a processor (Linux, Documentation/scheduler/sched-stats)."""


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def unix_milliseconds(moment: datetime) -> int:
    """Unix time, rounded up, so that what is read back is never before the moment."""
    return ceil(moment.timestamp() * 1000)


def processor_seconds() -> float:
    """Seconds for which this thread ran or waited for a processor; where nobody counts the waiting, those it ran.

    What a clock has gone on besides, the thread has stood still, for it was stopped, swapped out, or waited for a disk.
    """
    try:
        ran, waited, _ = SCHEDSTAT.read_text().split()
    except OSError:
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9


class RunningTime:
    """Seconds for which the loop could run: a late loop must not take its own lateness for another's silence.

    Between two beats two pass at the most, so that whoever waits for an answer has had the turns to hear it.
    """

    def __init__(self) -> None:
        self._until_beat = 0.0
        self._beat_at: float | None = None

    def now(self) -> float:
        """Seconds since its start."""
        if self._beat_at is None:
            return 0.0
        return self._until_beat + min(asyncio.get_running_loop().time() - self._beat_at, 2 * BEAT)

    async def run(self) -> None:
        """Beat, for ever."""
        while True:
            self._until_beat, self._beat_at = self.now(), asyncio.get_running_loop().time()
            await asyncio.sleep(BEAT)
