"""A thing with a life, and where it is kept. What it decides and becomes is pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Generic, TypeVar

from shared.contract.event import Command, Event, Message

S = TypeVar("S")


@dataclass(frozen=True)
class Address:
    """Which instance of a machine, and the city whose shard keeps it."""

    instance: str
    home: str


def by_case(message: Message) -> Address:
    """One instance a case, kept where the line's city is."""
    return Address(str(message.case), message.city)


@dataclass(frozen=True)
class Machine(Generic[S]):
    """A thing with a life: pure decisions, state = fold of its events. `recover`: what it learns after a rebuild."""

    name: str
    blank: S
    decide: Callable[[S, Message, datetime], tuple[Event, ...]]
    evolve: Callable[[S, Event], S]
    deadline: Callable[[S], datetime | None]
    listed: Callable[[S], bool]
    address: Callable[[Message], Address] = by_case
    recover: Callable[[S, int], Command | None] = lambda _, __: None

    def begin_again(self, message: Message, now: datetime, epoch: int) -> tuple[Event, ...]:
        """What a life says first that begins with news from before its store: it may have been lived already, and been
        lost before the log had any of it. So it recovers at once, in the same commit."""
        events = self.decide(self.blank, message, now)
        begun = reduce(self.evolve, events, self.blank)
        wish = self.recover(begun, epoch) if events else None
        return (*events, *self.decide(begun, wish, now)) if wish else events
