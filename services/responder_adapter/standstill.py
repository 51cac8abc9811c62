"""Whether this process, or its store, stood still, and with it what it knows: a person may have phoned meanwhile."""

import asyncio
from collections.abc import Callable

import structlog

BEAT = 0.25
STOOD = 1.0
"""Seconds without a beat after which the process has stood still; nobody claims an alarm and reaches a desk in less."""

SILENT = 3.0
"""Seconds without a word from the store, after which intake rings from memory and keeps a claim for later."""

CATCHES_UP, TOLD_AGAIN = 1.0, 5.0
"""Seconds given to what was said meanwhile: doors and Kafka bring it within milliseconds; what intake kept on paper
comes when intake too has found the store again (three seconds at the most) and told it."""

BEGINS_WITHIN, BEGINS_WITH = 10.0, 0.5
"""A process that sends for the first time within so many seconds of its start waits so long before it does: the claim
that answers an order may lie in Kafka beside it, and what lies there is learnt side by side."""

log = structlog.get_logger()


class Standstill:
    """Noticed by a beat that does not come while the process is stopped, swapped out, or its loop blocked.

    One that is merely late has not stood still: what it `ran`, or waited for a processor, does not count. `answered` is
    when the store last took something, by the loop's clock; 0 before it ever did.
    """

    def __init__(self, answered: Callable[[], float], ran: Callable[[], float]) -> None:
        self._answered = answered
        self._ran = ran
        self._ran_before = 0.0
        self._beat: float | None = None
        self._away = False
        self._until = float("-inf")
        self._begun: float | None = None

    async def run(self) -> None:
        """Beat, for ever."""
        self._begun = asyncio.get_running_loop().time()
        while True:
            self._look()
            self._beat, self._ran_before = asyncio.get_running_loop().time(), self._ran()
            answered = self._answered()
            self._away = self._away or (answered > 0 and self._beat - answered > SILENT)
            await asyncio.sleep(BEAT)

    async def over(self) -> None:
        """Return at once; after a standstill when there was time to hear what came meanwhile."""
        self._look()
        now = asyncio.get_running_loop().time()
        if self._begun is not None and now - self._begun < BEGINS_WITHIN:
            self._until = max(self._until, now + BEGINS_WITH)
        self._begun = None
        wait = self._until - now
        if wait > 0:
            await asyncio.sleep(wait)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._beat is not None and now - self._beat > STOOD:
            stood = now - self._beat - (self._ran() - self._ran_before)
            self._beat, self._ran_before = now, self._ran()
            if stood > STOOD:
                log.warning("stood_still", seconds=round(stood, 1), signal="warning")
                self._until = max(self._until, now + CATCHES_UP)
        if self._away and now - self._answered() <= SILENT:
            log.warning("store_answers_again", signal="warning")
            self._until, self._away = now + TOLD_AGAIN, False
