"""What the log of record has of each instance: its own events, each once, in the order in which it decided them."""

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

DRILL_KEPT = 86_400
"""Seconds that the store keeps a drill at rest; functions.lua has the same."""

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
    logged: LoggedEvent
    event: Event

    @property
    def version(self) -> int:
        return self.logged.version


@dataclass(frozen=True, slots=True)
class ReplayedInstance(Generic[S]):
    """One instance as the fold of its events.

    `missing` counts its commits that the log lacks, `impossible` the events left out because its table did not allow
    them where they stood: both are 0 unless records were lost.
    """

    machine: Machine[S]
    address: Address
    city: str
    state: S
    version: int
    drill: bool
    causes: tuple[str, ...]
    listed_since: datetime | None
    moved_at: datetime
    missing: int = 0
    impossible: int = 0

    def is_past_drill(self, now: float) -> bool:
        """Whether it is a drill that the store has let go by then, in Unix seconds: a day after its last move."""
        waits = self.machine.deadline(self.state) is not None
        return self.drill and not waits and now - self.moved_at.timestamp() > DRILL_KEPT


class ForeignRecord(ValueError):
    """A record among our events that none of our machines can have emitted."""


def replay_instances(
    machines: Sequence[Machine[Any]], logged: Iterable[LoggedEvent], unread: list[str]
) -> Iterator[ReplayedInstance[Any]]:
    """The instances that one case's records tell of; what cannot be read or is not ours is named in `unread`."""
    parsed: dict[tuple[str, Address], tuple[Machine[Any], list[_ParsedEvent]]] = {}
    for entry in {each.id: each for each in logged}.values():  # what the relay was unsure of lies there twice
        try:
            event = entry.kind.model_validate_json(entry.value)
            machine, address = _emitter(machines, entry, event)
        except ValueError:
            unread.append(entry.where)
            continue
        parsed.setdefault((machine.name, address), (machine, []))[1].append(_ParsedEvent(entry, event))
    # Sorted by what the commit gave them: offsets tell only when the relay came to send them.
    for (_, address), (machine, events) in parsed.items():
        yield _fold(machine, address, sorted(events, key=lambda each: each.logged.sequence))


def _emitter(machines: Sequence[Machine[Any]], logged: LoggedEvent, event: Event) -> tuple[Machine[Any], Address]:
    """Whose event it is: an id is made of the machine, its instance, the cause and the place in the commit."""
    n = int(logged.sequence[VERSION:])
    for machine in machines:
        address = machine.address(event)
        if logged.id == str(uuid5(NAMES, f"{machine.name}|{address.instance}|{logged.cause}|{n}")):
            return machine, address
    raise ForeignRecord(logged.where)


def _fold(machine: Machine[S], address: Address, parsed: Sequence[_ParsedEvent]) -> ReplayedInstance[S]:
    state, since, versions, impossible = machine.blank, None, 0, 0
    for _, commit in groupby(parsed, key=attrgetter("version")):
        versions += 1
        for each in commit:
            try:
                state = machine.evolve(state, each.event)
            except KeyError:
                impossible += 1
        listed = machine.listed(state) and not parsed[0].logged.drill
        since = (since or each.event.at) if listed else None
    return ReplayedInstance(
        machine,
        address,
        parsed[-1].event.city,
        state,
        parsed[-1].version,
        parsed[0].logged.drill,
        tuple(dict.fromkeys(each.logged.cause for each in parsed)),
        since,
        parsed[-1].event.at,
        parsed[-1].version - versions,
        impossible,
    )
