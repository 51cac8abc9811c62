"""A machine that counts what it hears, says each new total, and rings when nothing came for a while."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from fastapi import APIRouter

from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.kernel.errors import Malformed
from shared.kernel.keeper import Cause, Keeper, Machine
from shared.kernel.service import Kit, Service
from shared.kernel.web import Actor, Asked

PATIENCE = timedelta(seconds=0.4)


class Given(Event):
    topic: ClassVar[str] = "tally.given"
    amount: int


class Counted(Event):
    topic: ClassVar[str] = "tally.counted"
    total: int


class Waited(Event):
    topic: ClassVar[str] = "tally.counted"


class Add(Command):
    amount: int


@dataclass(frozen=True)
class Tally:
    total: int = 0
    seen: tuple[int, ...] = ()
    due: datetime | None = None
    waited: int = 0


class TooMuch(Rejected):
    pass


def decide(tally: Tally, message: Message, now: datetime) -> tuple[Event, ...]:
    match message:
        case Add() | Given():
            if message.amount > 1000:
                raise TooMuch("too_much", "Add less.")
            total = tally.total + message.amount
            return (Counted(case=message.case, city=message.city, at=now, total=total),) if message.amount else ()
        case DeadlinePassed() if tally.due and now >= tally.due:
            return (Waited(case=message.case, city=message.city, at=now),)
    return ()


def evolve(tally: Tally, event: Event) -> Tally:
    match event:
        case Counted():
            return replace(tally, total=event.total, seen=(*tally.seen, event.total), due=event.at + PATIENCE)
        case Waited():
            return replace(tally, due=None, waited=tally.waited + 1)
    raise KeyError(type(event))


MACHINE = Machine("tally", Tally(), decide, evolve, lambda tally: tally.due, lambda tally: tally.due is not None)


def routes(tallies: Keeper[Tally]) -> APIRouter:
    router = APIRouter()

    @router.post("/cities/{city}/tallies/{case}/additions")
    async def add(command: Add, cause: Asked, actor: Actor) -> dict[str, int]:
        return {"total": (await tallies.learn(command, cause)).state.total}

    return router


def build(kit: Kit, hear: Callable[[Given], None] | None = None) -> Service:
    """`hear` may raise, to be a handler that fails."""
    tallies = kit.keep(MACHINE)

    async def on_given(event: Given, cause: Cause) -> None:
        if hear:
            hear(event)
        if event.amount < 0:
            raise Malformed("negative")
        await tallies.learn(event, cause)

    return Service("tally", {Given: on_given}, frozenset({Counted, Waited}), (routes(tallies),))
