"""回执: what a simulated desk says on its own, each report under one id until it has been heard."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime

import httpx

from deploy.local.desk_book import Book, CallOut, Report
from deploy.local.desk_signature import sign

FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
DEFINITE = frozenset({409, 410, 422})
"""Answers that no repetition will change: the report is noted as refused, and the next one goes out."""


class Reporter:
    """Sends each call-out's reports in order, one call-out beside the other, for as long as it takes."""

    def __init__(self, book: Book, secret: str, now: Callable[[], datetime]) -> None:
        self._book, self._secret, self._now = book, secret, now
        self._client = httpx.AsyncClient(timeout=5, trust_env=False)
        self._speaking: dict[str, asyncio.Task[None]] = {}

    def speak(self, callout: CallOut) -> None:
        """Have what is to be said of this call-out said; a task that speaks of it already goes on."""
        speaking = self._speaking.get(callout.key)
        if callout.to_say and (speaking is None or speaking.done()):
            self._speaking[callout.key] = asyncio.create_task(self._say_all(callout))

    def fall_silent(self, key: str) -> None:
        """Say nothing more of this call-out than what is planned anew."""
        if speaking := self._speaking.pop(key, None):
            speaking.cancel()

    async def close(self) -> None:
        for speaking in self._speaking.values():
            speaking.cancel()
        await asyncio.gather(*self._speaking.values(), return_exceptions=True)
        await self._client.aclose()

    async def _say_all(self, callout: CallOut) -> None:
        while callout.to_say:
            report = callout.to_say[0]
            await asyncio.sleep(max(0.0, (report.due - self._now()).total_seconds()))
            await self._say(callout, report)
        self._speaking.pop(callout.key, None)

    async def _say(self, callout: CallOut, report: Report) -> None:
        body = json.dumps({**report.body, "key": callout.key, "rung": report.rung, "at": self._now().isoformat()})
        attempt, wait = 0, FIRST_WAIT
        while True:
            attempt += 1
            status = await self._post(callout, report, body.encode())
            if 200 <= status < 300 or status in DEFINITE:
                what = "reported" if status < 300 else "refused"
                said = {"what": what, "key": callout.key, "id": report.id, "rung": report.rung}
                self._book.write(self._now(), {**said, "status": status, "attempts": attempt})
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _post(self, callout: CallOut, report: Report, body: bytes) -> int:
        """The HTTP status it got; 0 if nobody answered."""
        timestamp = int(self._now().timestamp())
        headers = {
            "content-type": "application/json",
            "webhook-id": report.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, report.id, timestamp, body),
        }
        if callout.traceparent:
            headers["traceparent"] = callout.traceparent
        try:
            answered = await self._client.post(callout.reports_to, content=body, headers=headers)
        except httpx.HTTPError:
            return 0
        return answered.status_code
