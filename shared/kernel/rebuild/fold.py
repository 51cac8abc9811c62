"""What the log of record says of each instance: its own events, each once, in the order it decided them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Generic, TypeVar
from uuid import uuid5

from shared.contract.event import Event
from shared.kernel.machine.keeper import NAMES
from shared.kernel.machine.machine import Address, Machine

S = TypeVar("S")

VERSION = 8
"""Digits of `ce_sequence` that number the commit; the others number the event within it."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One of a service's own events as the log has it, its value not yet read."""

    where: str
    kind: type[Event]
    id: str
    cause: str
    sequence: str
    drill: bool
    value: bytes

    @property
    def version(self) -> int:
        """The version of its instance that this event made."""
        return int(self.sequence[:VERSION])


@dataclass(frozen=True, slots=True)
class _ParsedEvent:
    said: LoggedEvent
    event: Event

    @property
    def version(self) -> int:
        return self.said.version


@dataclass(frozen=True, slots=True)
class ReplayedInstance(Generic[S]):
    """One instance as its events tell it. `missing` counts commits of it that the log lacks, `impossible` the events
    that its table did not allow where they stood and that were left out: both are 0 unless records were lost."""

    machine: Machine[S]
    address: Address
    city: str
    state: S
    version: int
    drill: bool
    causes: tuple[str, ...]
    listed_since: datetime | None
    missing: int = 0
    impossible: int = 0


class ForeignRecord(ValueError):
    """A record among our events that none of our machines can have said."""


def replay_instances(
    machines: Sequence[Machine[Any]], said: Iterable[LoggedEvent], unread: list[str]
) -> Iterator[ReplayedInstance[Any]]:
    """The instances that one case's records tell of; what cannot be read or is not ours is named in `unread`."""
    told: dict[tuple[str, Address], tuple[Machine[Any], list[_ParsedEvent]]] = {}
    for one in {each.id: each for each in said}.values():
        try:
            event = one.kind.model_validate_json(one.value)
            machine, address = _speaker(machines, one, event)
        except ValueError:
            unread.append(one.where)
            continue
        told.setdefault((machine.name, address), (machine, []))[1].append(_ParsedEvent(one, event))
    for (_, address), (machine, events) in told.items():
        yield _folded(machine, address, sorted(events, key=lambda each: each.said.sequence))


def _speaker(machines: Sequence[Machine[Any]], said: LoggedEvent, event: Event) -> tuple[Machine[Any], Address]:
    """Whose event it is: an id is made of the machine, its instance, the cause and the place in the commit."""
    n = int(said.sequence[VERSION:])
    for machine in machines:
        address = machine.address(event)
        if said.id == str(uuid5(NAMES, f"{machine.name}|{address.instance}|{said.cause}|{n}")):
            return machine, address
    raise ForeignRecord(said.where)


def _folded(machine: Machine[S], address: Address, told: Sequence[_ParsedEvent]) -> ReplayedInstance[S]:
    state, since, versions, impossible = machine.blank, None, 0, 0
    for _, commit in groupby(told, key=attrgetter("version")):
        versions += 1
        for each in commit:
            try:
                state = machine.evolve(state, each.event)
            except KeyError:
                impossible += 1
        listed = machine.listed(state) and not told[0].said.drill
        since = (since or each.event.at) if listed else None
    return ReplayedInstance(
        machine,
        address,
        told[-1].event.city,
        state,
        told[-1].version,
        told[0].said.drill,
        tuple(dict.fromkeys(each.said.cause for each in told)),
        since,
        told[-1].version - versions,
        impossible,
    )
