"""What was seen of a run: the seats' calls for help, the desks' incidents, the alarms. Seconds on one clock."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

Pair = tuple[str, str]
"""A case and a desk."""


@dataclass(frozen=True)
class Cry:
    """One call for help as its seat saw it; `accepted` is when the attempt that got the first 2xx was sent."""

    case: str
    desks: frozenset[str]
    sent: float
    accepted: float | None = None


@dataclass(frozen=True)
class Reply:
    """What an act got under its key: HTTP status (0: none came), seconds, what it said of itself, and when it left.

    `by_hand`: it was an F9.
    """

    key: str
    status: int
    took: float
    said: str = ""
    sent: float = 0.0
    by_hand: bool = False


@dataclass(frozen=True)
class Told:
    """One POST that a desk understood."""

    case: str
    desk: str
    key: str
    at: float
    cancels: bool = False
    stood_down: bool = False


@dataclass(frozen=True)
class Car:
    """An incident that a desk made, by wire or told by phone, and when a person there accepted it."""

    case: str
    desk: str
    key: str
    at: float
    accepted: float | None = None
    by_phone: bool = False


@dataclass(frozen=True)
class Ring:
    """A human is told to phone; `desk` None: about the case as a whole. `since`: from when on it was to ring."""

    case: str
    desk: str | None
    at: float
    since: float | None = None


@dataclass(frozen=True)
class Probe:
    """Something measured: seconds until it was so (None: never) or that it lasted, and how many were asked."""

    what: str
    took: float | None
    asked: float


@dataclass(frozen=True)
class Seen:
    """Everything the three logs say; what no log covers stays empty."""

    cries: tuple[Cry, ...]
    cars: tuple[Car, ...]
    told: tuple[Told, ...] = ()
    rings: tuple[Ring, ...] = ()
    replies: tuple[Reply, ...] = ()
    probes: tuple[Probe, ...] = ()

    @cached_property
    def accepted(self) -> tuple[Cry, ...]:
        return tuple(cry for cry in self.cries if cry.accepted is not None)

    @cached_property
    def cars_of(self) -> dict[Pair, list[Car]]:
        return _grouped(self.cars)

    @cached_property
    def rings_of(self) -> dict[str, list[Ring]]:
        found: dict[str, list[Ring]] = defaultdict(list)
        for ring in sorted(self.rings, key=lambda ring: ring.at):
            found[ring.case].append(ring)
        return found

    def delivered(self, case: str, desk: str) -> float | None:
        """When the desk first had it."""
        return min((car.at for car in self.cars_of.get((case, desk), ())), default=None)

    def rang(self, case: str, desk: str) -> float | None:
        """When a human was first told to phone this desk, or about the case."""
        return next((ring.at for ring in self.rings_of.get(case, ()) if ring.desk in {desk, None}), None)

    def pairs(self) -> Iterator[tuple[Cry, str, float]]:
        """Each accepted call with each desk it must reach, and when it was accepted."""
        for cry in self.cries:
            if cry.accepted is not None:
                yield from ((cry, desk, cry.accepted) for desk in sorted(cry.desks))


def _grouped(cars: Iterable[Car]) -> dict[Pair, list[Car]]:
    found: dict[Pair, list[Car]] = defaultdict(list)
    for car in cars:
        found[car.case, car.desk].append(car)
    return dict(found)
