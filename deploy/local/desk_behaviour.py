"""How a simulated desk behaves: what it answers to an order, and what it reports on its own afterwards, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contract.terms import LADDER, Code, Rung

Wait = Annotated[float, Field(ge=0, le=86_400)]
Answer = Literal["accept", "at_once", "deliver_then_accept", "reject", "silent", "garbage", "error"]

POLICE: Mapping[Rung, float] = {
    Rung.ASSIGNED: 20,
    Rung.EN_ROUTE: 40,
    Rung.ARRIVED: 300,
    Rung.CONTACT: 90,
    Rung.CLEARED: 1200,
}
"""Seconds from one rung to the next. On the way 5 minutes: a city's norm for 110 in a local rule (qiqiwenku)."""

AMBULANCE: Mapping[Rung, float] = {
    Rung.ASSIGNED: 45,
    Rung.EN_ROUTE: 120,
    Rung.ARRIVED: 540,
    Rung.CONTACT: 60,
    Rung.TRANSPORTING: 600,
    Rung.HANDED_OVER: 900,
    Rung.CLEARED: 600,
}
"""Seconds from one rung to the next. Ordered within 1 minute, rolling within 3: Guangzhou's 120 rules, art. 21–22."""

DISPOSITIONS = {"120": "transported"}
"""How a desk's part ends; every other kind of desk says `assisted`."""


class Behaviour(BaseModel):
    """What the desk has been told to do.

    `accept` accepts in the answer and reports on; `at_once` accepts in the answer and says nothing more;
    `deliver_then_accept` accepts by a report after `accept_after` seconds; `reject` says no with `code`; `silent` has
    it and never speaks of it again; `garbage` answers no protocol; `error` answers HTTP `code` (500 if it is none).
    `delays` are the rungs reported after acceptance, each so many seconds after the one before; None is the desk's
    own habit. `scale` shrinks all of these. `slow` seconds pass before any answer; `down` refuses connections.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: Answer = "deliver_then_accept"
    code: Code | None = None
    accept_after: Wait = 8
    delays: Mapping[Rung, Wait] | None = None
    scale: Annotated[float, Field(ge=0, le=100)] = 1
    slow: Wait = 0
    down: bool = False

    def changed(self, told: Mapping[str, object]) -> "Behaviour":
        """This behaviour with what was told. ValidationError on what no desk can do."""
        return Behaviour.model_validate({**self.model_dump(), **told})


@dataclass(frozen=True)
class Step:
    """A rung to be reported `after` seconds from now."""

    rung: Rung
    after: float
    code: str | None = None


@dataclass(frozen=True)
class Reply:
    """What a new order is answered with. `taken`: the desk has made an incident of it and will not make another."""

    status: int
    body: Mapping[str, str] | str
    taken: bool
    steps: tuple[Step, ...] = ()


def reply(behaviour: Behaviour, kind: str) -> Reply:
    """What a desk of this kind does with an order it has not seen before."""
    match behaviour.answer:
        case "accept":
            return Reply(200, {"status": "accepted"}, taken=True, steps=ladder(behaviour, kind, after=0))
        case "at_once":
            return Reply(200, {"status": "accepted"}, taken=True)
        case "deliver_then_accept":
            return Reply(200, {"status": "delivered"}, taken=True, steps=acceptance(behaviour, kind))
        case "reject":
            return Reply(200, {"status": "rejected", "code": behaviour.code or "other"}, taken=True)
        case "silent":
            return Reply(200, {"status": "delivered"}, taken=True)
        case "garbage":
            return Reply(200, "<html>您好，欢迎使用</html>", taken=False)
        case "error":
            return Reply(failure(behaviour.code), {"error": "the desk's system has failed"}, taken=False)


def acceptance(behaviour: Behaviour, kind: str) -> tuple[Step, ...]:
    """A person reads it, accepts it, and the work goes on."""
    first = behaviour.accept_after * behaviour.scale
    return (Step(Rung.ACCEPTED, first), *ladder(behaviour, kind, first))


def ladder(behaviour: Behaviour, kind: str, after: float) -> tuple[Step, ...]:
    """The rungs reported once the desk has accepted, lowest first."""
    habit = AMBULANCE if kind == "120" else POLICE
    delays = habit if behaviour.delays is None else behaviour.delays
    steps = []
    for rung in sorted(delays, key=LADDER.__getitem__):
        after += delays[rung] * behaviour.scale
        steps.append(Step(rung, after, DISPOSITIONS.get(kind, "assisted") if rung is Rung.CLEARED else None))
    return tuple(steps)


def failure(code: str | None) -> int:
    """The HTTP status of a failing desk."""
    return int(code) if code and code.isascii() and code.isdecimal() and 400 <= int(code) <= 599 else 500
