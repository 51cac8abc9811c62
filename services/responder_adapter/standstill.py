"""Whether this process stood still, and with it what it knows: a person may have phoned meanwhile."""

import asyncio

import structlog

BEAT = 0.25
STOOD = 1.0
"""Seconds without a beat after which it has stood still; nobody claims an alarm and reaches a desk in less."""

CATCHES_UP = 1.0
"""Seconds given to what was said to us meanwhile: doors and Kafka bring it within milliseconds."""

log = structlog.get_logger()


class Standstill:
    """Noticed by a beat that does not come while the process is stopped, swapped out, or its loop blocked."""

    def __init__(self) -> None:
        self._beat: float | None = None
        self._woke = float("-inf")

    async def run(self) -> None:
        """Beat, for ever."""
        while True:
            self._look()
            self._beat = asyncio.get_running_loop().time()
            await asyncio.sleep(BEAT)

    async def over(self) -> None:
        """Return at once; after a standstill when there was time to hear what came meanwhile."""
        self._look()
        wait = self._woke + CATCHES_UP - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._beat is not None and now - self._beat > STOOD:
            log.warning("stood_still", seconds=round(now - self._beat, 1), signal="warning")
            self._woke, self._beat = now, now
