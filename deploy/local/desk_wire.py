"""The desk's side of the wire: orders and cancellations come in signed, and each key gets one answer for ever."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import BaseModel, ConfigDict, HttpUrl, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from deploy.local.desk_behaviour import Reply, Step, reply
from deploy.local.desk_book import Book, CallOut, Line
from deploy.local.desk_reports import Reporter
from deploy.local.desk_signature import Unsigned, verify
from shared.contract.terms import Rung, callout_key, desk_kind

LARGEST = 65_536
"""Bytes of an order; the protocol promises far less."""

OFFICERS = ("041207", "041533", "042018", "042466", "043091")
ON_SCENE = frozenset({"arrived", "contact", "not_found", "transporting", "handed_over", "cleared"})


class Order(BaseModel):
    """What comes in, as far as a desk's own system looks at it. New fields are no reason to refuse help."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["call_out.order", "call_out.cancel", "call_out.status"]
    key: str
    case: UUID
    desk: str
    n: int
    attempt: int = 1
    drill: bool = False
    reports_to: HttpUrl | None = None
    brief: Mapping[str, Any] | None = None

    def fits(self, desk: str, message_id: str) -> bool:
        """Whether it is for this desk, under its own key. An order without a way back is none."""
        if self.desk != desk or self.key != callout_key(self.case, self.desk, self.n):
            return False
        return self.type != "call_out.order" or (message_id == self.key and self.reports_to is not None)


@dataclass(frozen=True)
class Wire:
    """One desk's system: its book, its voice, its clock."""

    desk: str
    secret: str
    book: Book
    reporter: Reporter
    now: Callable[[], datetime]

    async def posted(self, request: Request) -> Response:
        """POST /callouts. 401 unsigned, 413 too long, 422 not for us; else what the behaviour says."""
        body = await request.body()
        if len(body) > LARGEST:
            return self._turned_away(413)
        try:
            message_id = verify(self.secret, request.headers, body, self.now())
            order = Order.model_validate_json(body)
        except Unsigned:
            return self._turned_away(401)
        except ValidationError:
            return self._turned_away(422)
        if not order.fits(self.desk, message_id):
            return self._turned_away(422)
        taken_up = {"call_out.order": self._order, "call_out.cancel": self._cancel, "call_out.status": self._status}
        status, answer = taken_up[order.type](order, request.headers.get("traceparent"))
        if slow := self.book.behaviour.slow:
            await asyncio.sleep(slow)
        return PlainTextResponse(answer, status) if isinstance(answer, str) else JSONResponse(answer, status)

    def decide(self, callout: CallOut, answer: Literal["accept", "reject"], code: str | None) -> None:
        """A person at the desk at last takes up what lies there; the ladder follows the behaviour of now."""
        told = {"answer": "deliver_then_accept", "accept_after": 0}
        steps = reply(self.book.behaviour.changed(told), desk_kind(self.desk)).steps
        if answer == "reject":
            steps = (Step(Rung.REJECTED, 0, code or "other"),)
        self.book.write(self.now(), self._plan(callout.key, steps, callout.event_no or "", callout.officer or ""))
        self.reporter.speak(callout)

    def resume(self) -> None:
        """Go on with what was still to be said when the desk stopped."""
        for callout in self.book.callouts.values():
            self.reporter.speak(callout)

    def _order(self, order: Order, traceparent: str | None) -> tuple[int, Mapping[str, Any] | str]:
        callout = self.book.known(order.key)
        if callout.taken:
            self.book.write(self.now(), came(order, traceparent, 200, callout.answer))
            return 200, callout.answer
        new = reply(self.book.behaviour, desk_kind(self.desk))
        lines, answer = self._taken(order, traceparent, new)
        self.book.write(self.now(), came(order, traceparent, new.status, answer), *lines)
        self.reporter.speak(self.book.known(order.key))
        return new.status, answer

    def _taken(
        self, order: Order, traceparent: str | None, new: Reply
    ) -> tuple[tuple[Line, ...], Mapping[str, Any] | str]:
        if not new.taken or isinstance(new.body, str):
            return (), new.body
        if new.body["status"] == "rejected":
            return ({"what": "declined", "key": order.key, "answer": new.body},), new.body
        event_no = f"{desk_kind(self.desk)}-{self.now():%Y%m%d}-{self.book.incidents + 1:04d}"
        officer = OFFICERS[self.book.incidents % len(OFFICERS)]
        accepted = {"officer": officer, "event_no": event_no} if new.body["status"] == "accepted" else {}
        answer = {**new.body, **accepted}
        incident = {
            "what": "incident",
            "key": order.key,
            "event_no": event_no,
            "officer": officer,
            "answer": answer,
            "drill": order.drill,
            "brief_fields": sorted(name for name, value in (order.brief or {}).items() if value is not None),
            "reports_to": str(order.reports_to),
            "traceparent": traceparent,
        }
        return (incident, self._plan(order.key, new.steps, event_no, officer)), answer

    def _plan(self, key: str, steps: tuple[Step, ...], event_no: str, officer: str) -> Line:
        """The reports to come, each under an id that a restart does not change."""
        unit = f"{'急' if desk_kind(self.desk) == '120' else '巡'}{int(officer or 0) % 90 + 10}"
        reports = []
        for step in steps:
            body = {"officer": officer, "event_no": event_no} if step.rung is Rung.ACCEPTED else {"officer": officer}
            if step.rung is Rung.ASSIGNED:
                body["unit"] = unit
            if step.code is not None:
                body["code"] = step.code
            due = self.now() + timedelta(seconds=step.after)
            report_id = str(uuid5(NAMESPACE_URL, f"{key}/{step.rung}"))
            reports.append({"id": report_id, "rung": step.rung, "due": due.isoformat(), "body": body})
        return {"what": "planned", "key": key, "reports": reports}

    def _cancel(self, order: Order, traceparent: str | None) -> tuple[int, Mapping[str, Any]]:
        callout = self.book.known(order.key)
        if not callout.cancelled and ON_SCENE & callout.reached(self.now()):
            answer = {"status": "rejected", "code": "on_scene"}
            self.book.write(self.now(), came(order, traceparent, 200, answer))
            return 200, answer
        answer = {"status": "cancelled"}
        standing_down = () if callout.cancelled else self._stand_down(order, callout)
        self.book.write(self.now(), came(order, traceparent, 200, answer), *standing_down)
        if standing_down:
            self.reporter.fall_silent(order.key)
            self.reporter.speak(self.book.known(order.key))
        return 200, answer

    def _status(self, order: Order, traceparent: str | None) -> tuple[int, Mapping[str, Any] | str]:
        """What the book has of a key. A desk that cannot speak today cannot say that either."""
        if self.book.behaviour.answer in {"garbage", "error"}:
            today = reply(self.book.behaviour, desk_kind(self.desk))
            self.book.write(self.now(), came(order, traceparent, today.status, today.body))
            return today.status, today.body
        callout = self.book.known(order.key)
        answer = {"status": "cancelled"} if callout.cancelled else callout.answer or {"status": "unknown"}
        self.book.write(self.now(), came(order, traceparent, 200, answer))
        return 200, answer

    def _stand_down(self, order: Order, callout: CallOut) -> tuple[Line, ...]:
        """An order that comes after its own cancellation finds the answer already there."""
        late = {"status": "rejected", "code": "cancelled"}
        cancelled: Line = {"what": "cancelled", "key": order.key, "answer": late}
        if not callout.incidents:
            return (cancelled,)
        return (cancelled, self._plan(order.key, (Step(Rung.CANCELLED, 0),), "", callout.officer or ""))

    def _turned_away(self, status: int) -> Response:
        self.book.write(self.now(), {"what": "turned_away", "status": status})
        return JSONResponse({"error": "not understood"}, status)


def came(order: Order, traceparent: str | None, status: int, answer: Mapping[str, Any] | str) -> Line:
    """The line of one POST: which key, which attempt, and what it is answered."""
    return {
        "what": "posted",
        "key": order.key,
        "type": order.type,
        "attempt": order.attempt,
        "traceparent": traceparent,
        "answered": {"status": status, "body": answer},
    }
