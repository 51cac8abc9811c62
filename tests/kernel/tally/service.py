"""A machine that counts what it hears, says each new total, keeps sealed notes, and rings when nothing came."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from shared.contract.event import Command, DeadlinePassed, Event, Message, Rejected
from shared.kernel.errors import Malformed
from shared.kernel.machine.keeper import IdempotencyKey, Keeper
from shared.kernel.machine.machine import Address, Machine
from shared.kernel.process.service import Kit, Service
from shared.kernel.process.web import ActKey, Actor

PATIENCE = timedelta(seconds=0.4)

UNLUCKY = 666
"""A total at whose deadline the machine fails."""


class Given(Event):
    service: ClassVar[str] = "giver"
    topic: ClassVar[str] = "tally.given"
    amount: int


class TallyEvent(Event):
    service: ClassVar[str] = "tally"
    topic: ClassVar[str] = "tally.counted"


class Counted(TallyEvent):
    total: int


class Waited(TallyEvent):
    pass


class Noted(TallyEvent):
    note: str


class Add(Command):
    amount: int


class KeepNote(Command):
    note: str


class NoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    phone: str
    address: str
    answers: dict[str, int | str]


@dataclass(frozen=True)
class Tally:
    total: int = 0
    seen: tuple[int, ...] = ()
    due: datetime | None = None
    waited: int = 0
    notes: tuple[str, ...] = ()


class TooMuch(Rejected):
    pass


def decide(tally: Tally, message: Message, now: datetime) -> tuple[Event, ...]:
    match message:
        case Add() | Given():
            if message.amount > 1000:
                raise TooMuch("too_much", "Add less.")
            total = tally.total + message.amount
            return (Counted(case=message.case, city=message.city, at=now, total=total),) if message.amount else ()
        case KeepNote(note=note):
            return (Noted(case=message.case, city=message.city, at=now, note=note),)
        case DeadlinePassed() if tally.total == UNLUCKY:
            raise ZeroDivisionError
        case DeadlinePassed() if tally.due and now >= tally.due:
            return (Waited(case=message.case, city=message.city, at=now),)
    return ()


def evolve(tally: Tally, event: Event) -> Tally:
    match event:
        case Counted():
            return replace(tally, total=event.total, seen=(*tally.seen, event.total), due=event.at + PATIENCE)
        case Noted():
            return replace(tally, notes=(*tally.notes, event.note))
        case Waited():
            return replace(tally, due=None, waited=tally.waited + 1)
    raise KeyError(type(event))


MACHINE = Machine("tally", Tally(), decide, evolve, lambda tally: tally.due, lambda tally: tally.due is not None)


def routes(kit: Kit, tallies: Keeper[Tally]) -> APIRouter:
    router = APIRouter(prefix="/cities/{city}/tallies/{case}")

    @router.post("/additions")
    async def add(command: Add, cause: ActKey, actor: Actor) -> dict[str, int]:
        return {"total": (await tallies.learn(command, cause)).state.total}

    @router.post("/notes", status_code=201)
    async def note(city: str, case: UUID, body: NoteBody, cause: ActKey, actor: Actor) -> dict[str, int]:
        sealed = await kit.vault.seal(case, "answers", body.model_dump(), city=city)
        kept = await tallies.learn(KeepNote(case=case, city=city, note=sealed), cause)
        return {"notes": len(kept.state.notes)}

    @router.get("")
    async def show(city: str, case: UUID, actor: Actor) -> dict[str, Any]:
        tally = await tallies.get(Address(str(case), city)) or Tally()
        notes = [await kit.vault.unseal(case, "answers", note, city=city) for note in tally.notes]
        return {"total": tally.total, "waited": tally.waited, "notes": notes}

    return router


def build(kit: Kit, hear: Callable[[Given], None] | None = None) -> Service:
    """`hear` may raise, to be a handler that fails."""
    tallies = kit.keep(MACHINE)

    async def on_given(event: Given, cause: IdempotencyKey) -> None:
        if hear:
            hear(event)
        if event.amount < 0:
            raise Malformed("negative")
        await tallies.learn(event, cause)

    return Service("tally", {Given: on_given}, TallyEvent, (routes(kit, tallies),))
