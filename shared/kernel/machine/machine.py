"""A state machine and where its instances are kept. What it decides and becomes is pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, Generic, TypeVar

from shared.contract.event import Command, DeadlinePassed, Event, Message

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
    """Pure decisions; the state is the fold of its events.

    `decide` may raise Rejected. `evolve` raises KeyError for an event that its table does not allow: that is a bug.
    `recover`: the command that an instance learns after a rebuild at that epoch, if it was at something.
    """

    name: str
    blank: S
    decide: Callable[[S, Message, datetime], tuple[Event, ...]]
    evolve: Callable[[S, Event], S]
    deadline: Callable[[S], datetime | None]
    listed: Callable[[S], bool]
    address: Callable[[Message], Address] = by_case
    recover: Callable[[S, int], Command | None] = lambda _, __: None

    def begin_again(self, message: Message, now: datetime, epoch: int) -> tuple[Event, ...]:
        """The first events of an instance that begins with an event older than its store.

        The store before may have had this instance and lost it before the log had any of it. So the new one recovers
        in the same commit, as a rebuilt one would.
        """
        events = self.decide(self.blank, message, now)
        begun = reduce(self.evolve, events, self.blank)
        wish = self.recover(begun, epoch) if events else None
        return (*events, *self.decide(begun, wish, now)) if wish else events


def address_of(machine: Machine[Any], message: Message) -> Address:
    """Which of its instances learns this message."""
    if isinstance(message, DeadlinePassed):
        return Address(message.instance, message.home)
    return machine.address(message)
