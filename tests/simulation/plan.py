"""What one seed means: who calls, how the desks are, what breaks, and when. Everything is over by `HEALED`."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.simulation.desks import FAILURES

HEALED = 34.0
"""Seconds after which nothing is broken any more."""

STARTED = 1.5
"""Seconds the services are given before the first call."""

SERVICES = ("hotline_intake", "risk_assessment", "dispatch", "responder_adapter")
CONVERSATIONS = (
    ("open", "danger"),
    ("open", "place", "danger"),
    ("open", "place", "danger"),
    ("open", "place", "danger", "f9"),
    ("open", "harmless", "f9"),
    ("f9",),
    ("open", "place", "f9"),
    ("open", "f9_110"),
    ("open", "danger", "place"),
    ("open", "harmless"),
)
MANNERS = ("settles", "settles", "settles", "deaf", "gives_back", "vanishes")


@dataclass(frozen=True)
class Fault:
    """Something that breaks: what, with whom, from when and for how long, and how badly.

    `after` counts records instead: it breaks when that many have been written since the first call.
    """

    kind: str
    whom: str
    at: float
    lasts: float = 0.0
    much: float = 0.0
    after: int = 0

    def __str__(self) -> str:
        lasting = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.kind} {self.whom}{lasting}{f' ({self.much:g})' if self.much else ''}"


@dataclass(frozen=True)
class Plan:
    """One seed, drawn."""

    seed: int
    calls: tuple[tuple[float, tuple[str, ...]], ...]
    habits: dict[str, dict[str, Any]]
    manner: str
    faults: tuple[Fault, ...]


def draw(seed: int, desks: tuple[str, ...]) -> Plan:
    """The plan of a seed, the same for ever as long as this file is."""
    random = Random(seed)
    calls = tuple(
        (STARTED + random.random() * 4, random.choice(CONVERSATIONS)) for _ in range(random.choice((1, 1, 2)))
    )
    habits = {desk: _habit(random) for desk in desks}
    ours = random.choices((0, 1, 2), (15, 45, 40))[0]
    faults = [_ours(random) for _ in range(ours)] + [f for desk in desks for f in _desk(random, desk)]
    return Plan(seed, calls, habits, random.choice(MANNERS), tuple(sorted(faults, key=lambda fault: fault.at)))


def _habit(random: Random) -> dict[str, Any]:
    return {
        "habit": random.choices(("accept", "deliver", "reject"), (55, 35, 10))[0],
        "reads_after": random.choice((0.5, 2.0, 6.0, 14.0)),
        "clears_after": random.choice((None, None, 0.5, 4.0)),
    }


def _desk(random: Random, desk: str) -> tuple[Fault, ...]:
    if random.random() < 0.5:
        return ()
    at = random.choice((0.0, 0.0, 2.0, 3.0 + random.random() * 20))
    lasts = random.choice((1.0, 5.0, 12.0, 24.0, 40.0))
    return (Fault(random.choice(FAILURES), desk, at, min(lasts, HEALED - at)),)


def _when(random: Random) -> float:
    return random.choice((STARTED, STARTED, STARTED, 18.0)) + random.random() * 6


def _ours(random: Random) -> Fault:
    return random.choice(OURS)(random)


def _kill(random: Random) -> Fault:
    """Between any two steps of a process, mostly while something goes on in it."""
    whom = random.choice(SERVICES)
    if random.random() < 0.3:
        return Fault("kill", whom, _when(random), much=random.randint(1, 400))
    return Fault("kill", whom, HEALED, much=random.randint(1, 90), after=random.randint(1, 16))


def _freeze(random: Random) -> Fault:
    return Fault("freeze", random.choice(SERVICES), _when(random), random.choice((0.6, 2.0, 4.0, 7.0)))


def _store(random: Random) -> Fault:
    kind = random.choice(("down", "silent", "slow", "lost", "cut"))
    lasts = random.choice((0.4, 1.5, 4.0)) if kind in {"down", "silent"} else random.choice((2.0, 8.0))
    much = {"slow": random.choice((0.05, 0.4, 1.2)), "lost": 0.2, "cut": 0.2}.get(kind, 0.0)
    return Fault(f"store {kind}", "", _when(random), lasts, much)


def _bus(random: Random) -> Fault:
    kind = random.choice(("away", "away", "slow", "lost"))
    much = {"slow": random.choice((0.1, 1.0)), "lost": 0.3}.get(kind, 0.0)
    return Fault(f"bus {kind}", "", random.choice((0.0, _when(random))), random.choice((1.0, 4.0, 9.0, 25.0)), much)


def _rebalance(random: Random) -> Fault:
    return Fault("rebalance", random.choice(SERVICES), _when(random))


def _answers(random: Random) -> Fault:
    return Fault("answers lost", "", STARTED, 8.0, random.choice((0.2, 0.5)))


def _clock(random: Random) -> Fault:
    """A wall clock that is wrong until somebody sets it right."""
    lasts = random.choice((3.0, 12.0))
    return Fault("clock jumps", random.choice(SERVICES), _when(random), lasts, random.choice((-600, -30, 30, 600)))


def _channel(random: Random) -> Fault:
    return Fault("channel away", "", 0.0, random.choice((24.0, HEALED)))


OURS: tuple[Callable[[Random], Fault], ...] = (
    _kill,
    _kill,
    _kill,
    _freeze,
    _store,
    _store,
    _bus,
    _bus,
    _rebalance,
    _answers,
    _clock,
    _channel,
)
