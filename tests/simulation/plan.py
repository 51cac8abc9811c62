"""What one seed means: who calls, how the desks are, what breaks, and when. Everything is over by `HEALED`."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.simulation.desks import FAILURES
from tests.simulation.store import REFUSALS

HEALED = 34.0
"""Seconds after which nothing is broken any more."""

STARTED = 1.5
"""Seconds the services are given before the first call."""

ADAPTER = "responder_adapter"
AUDITOR = "auditor"
DISPATCH = "dispatch"
SERVICES = ("hotline_intake", "risk_assessment", DISPATCH, ADAPTER)
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
    ("open", "together"),
    ("open", "harmless"),
)
MANNERS = ("settles", "settles", "settles", "deaf", "deaf", "gives_back", "vanishes")
HEARS = (("risk_assessment", "ScreeningRecorded"), (DISPATCH, "RiskAssessed"), (ADAPTER, "CallOutOrdered"))
"""Who learns help from what."""

COMMITTER = "the committer"
"""Whoever made the commit that a fault follows."""


@dataclass(frozen=True)
class Fault:
    """Something that breaks: what, with whom, from when and for how long, and how badly.

    With `after`, it breaks when that many commits were applied instead, or as many of the events that `of` names.
    """

    kind: str
    whom: str
    at: float
    lasts: float = 0.0
    much: float = 0.0
    after: int = 0
    of: str = ""

    def __str__(self) -> str:
        lasting = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.kind} {self.whom}{lasting}{f' ({self.much:g})' if self.much else ''}"


@dataclass(frozen=True)
class Plan:
    """One seed, drawn.

    The supervisor takes an alarm after `reacts_after` seconds, or up to four more; `audited`: the auditor is there.
    """

    seed: int
    calls: tuple[tuple[float, tuple[str, ...]], ...]
    habits: dict[str, dict[str, Any]]
    manner: str
    faults: tuple[Fault, ...]
    reacts_after: float = 0.0
    audited: bool = False


def draw(seed: int, desks: tuple[str, ...]) -> Plan:
    """The plan of a seed, the same for ever as long as this file is."""
    random = Random(seed)
    if random.random() < 1 / 4:
        return random.choice(DIRECTED)(seed, random, desks)
    calls = tuple(
        (STARTED + random.random() * 4, random.choice(CONVERSATIONS)) for _ in range(random.choice((1, 1, 2)))
    )
    habits = {desk: _habit(random) for desk in desks}
    if any({"danger", "f9"} <= set(steps) for _, steps in calls):
        # F9 after a desk has finished calls it again, and rightly: a second car would say nothing.
        habits = {desk: {**habit, "clears_after": None} for desk, habit in habits.items()}
    audited = random.random() < 1 / 16
    faults = [*_of_ours(random), *(fault for desk in desks for fault in _desk(random, desk))]
    in_order = tuple(sorted(faults, key=lambda fault: fault.at))
    return Plan(seed, calls, habits, random.choice(MANNERS), in_order, audited=audited)


def _zombie(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """An adapter that stops between its decision to send and the sending, while a person here takes the phone."""
    habits = {desk: {**_habit(random), "habit": "accept"} for desk in desks}
    ailing = tuple(Fault("refused", desk, 0.0, 25.0) for desk in desks)
    frozen = Fault("freeze", ADAPTER, HEALED, 9.5, random.randint(0, 6), random.choice((9, 10)), "CallOutRetried")
    calls = ((STARTED, ("open", "place", "danger")),)
    return Plan(seed, calls, habits, "settles", (*ailing, frozen), reacts_after=3.5)


def _stumbling(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """A store so slow that a process which falls takes a good deal of half-done work along."""
    slow = Fault("store slow", "", STARTED, 14.0, random.choice((0.3, 0.45, 0.6)))
    falls = (
        Fault("kill", random.choice(SERVICES), STARTED + 1 + random.random() * 11, much=random.randint(0, 20))
        for _ in range(3)
    )
    whom, of = random.choice(HEARS)
    learning = Fault("kill", whom, HEALED, much=random.randint(1, 60), after=1, of=of)
    calls = ((STARTED, random.choice(CONVERSATIONS[:4])),)
    habits = {desk: {**_habit(random), "habit": "accept", "clears_after": None} for desk in desks}
    return Plan(seed, calls, habits, "deaf", (slow, *sorted((*falls, learning), key=lambda fault: fault.at)))


def _orphaned(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """Intake falls silent right after it promised, and the desks are dead: the auditor alone can ring."""
    habits = {desk: {**_habit(random), "habit": "accept"} for desk in desks}
    ailing = tuple(Fault(random.choice(("refused", "error", "unread")), desk, 0.0, HEALED) for desk in desks)
    silent = Fault("freeze", "hotline_intake", HEALED, 30.0, random.randint(40, 400), 1, "ScreeningRecorded")
    calls = ((STARTED + 4, ("open", "place", "danger")),)
    return Plan(seed, calls, habits, random.choice(MANNERS), (*ailing, silent), audited=True)


def _without_kafka(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """All of Kafka is away from before the call until long after: the doors alone bring it to the desks."""
    habits = {desk: {**_habit(random), "habit": "accept"} for desk in desks}
    calls = ((STARTED + 2, random.choice(CONVERSATIONS[:7])),)
    return Plan(seed, calls, habits, random.choice(MANNERS), (Fault("bus away", "", STARTED, 22.0),))


def _read_only(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """A store that takes no write from soon after the call on, and nobody at the desks: memory alone can ring."""
    habits = {desk: {**_habit(random), "habit": "deliver", "reads_after": HEALED} for desk in desks}
    calls = ((STARTED, random.choice(CONVERSATIONS[:7])),)
    at = STARTED + 3 + random.random() * 3
    refuses = Fault(f"store {random.choice(tuple(REFUSALS))}", "", at, HEALED - at)
    return Plan(seed, calls, habits, "deaf", (refuses,))


def _one_dead(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """One desk is dead from before the call until long after, and everything else is well."""
    habits = {desk: {**_habit(random), "habit": "accept"} for desk in desks}
    dead = Fault(random.choice(("refused", "blackhole", "error")), random.choice(desks), 0.0, HEALED)
    return Plan(seed, ((STARTED, ("open", "place", "danger")),), habits, random.choice(MANNERS), (dead,))


def _crowd(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """Several cry in the same second, and nobody at the desks answers: one phone here rings for them all."""
    habits = {desk: {**_habit(random), "habit": "deliver", "reads_after": HEALED} for desk in desks}
    calls = tuple((STARTED + random.random() * 0.2, ("f9",)) for _ in range(4))
    return Plan(seed, calls, habits, "deaf", ())


def _dawdling(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """Desks and a store so slow that an attempt's outcome is learnt after it would have been presumed dead."""
    habits = {desk: {**_habit(random), "habit": "accept"} for desk in desks}
    slow = Fault("store slow", "", STARTED, 24.0, random.choice((0.4, 0.5, 0.6)))
    silent = tuple(Fault("blackhole", desk, 0.0, STARTED + 20) for desk in desks)
    return Plan(seed, ((STARTED, random.choice(CONVERSATIONS[1:3])),), habits, random.choice(MANNERS), (*silent, slow))


def _poisoned(seed: int, random: Random, desks: tuple[str, ...]) -> Plan:
    """One case at whose deadline a machine of dispatch fails: the next one's help does not wait for it."""
    habits = {desk: {**_habit(random), "habit": "deliver", "reads_after": 30.0} for desk in desks}
    first, second = ((at, random.choice(CONVERSATIONS[1:3])) for at in (STARTED, STARTED + 14 + random.random() * 8))
    return Plan(seed, (first, second), habits, random.choice(MANNERS), (Fault("poison", DISPATCH, 0.0),))


DIRECTED = (
    *(_zombie, _zombie, _stumbling, _stumbling, _stumbling, _orphaned, _without_kafka),
    *(_one_dead, _read_only, _crowd, _dawdling, _poisoned),
)
"""Plans that aim at one weakness, as often as they stand here."""


def _of_ours(random: Random) -> list[Fault]:
    """None, one or two; and often one strikes while the other lasts."""
    count = random.choices((0, 1, 2), (10, 45, 45))[0]
    faults = [random.choice(OURS)(random) for _ in range(count)]
    if count == 2 and faults[0].lasts and random.random() < 0.5:
        at = max(STARTED, faults[0].at) + random.random() * faults[0].lasts
        faults[1] = Fault("kill", random.choice(SERVICES), min(at, HEALED), much=random.randint(1, 60))
    return faults


def _habit(random: Random) -> dict[str, Any]:
    return {
        "habit": random.choices(("accept", "deliver", "reject"), (55, 35, 10))[0],
        "reads_after": random.choice((0.5, 2.0, 6.0, 14.0, 40.0)),
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


def _kill(random: Random) -> Fault:
    """Between any two steps of a process, mostly right after one of its commits."""
    if random.random() < 0.3:
        return Fault("kill", random.choice(SERVICES), _when(random), much=random.randint(1, 400))
    return Fault("kill", COMMITTER, HEALED, much=random.randint(0, 50), after=random.randint(1, 20))


def _freeze(random: Random) -> Fault:
    lasts = random.choice((0.6, 2.0, 4.0, 7.0))
    if random.random() < 0.5:
        return Fault("freeze", random.choice(SERVICES), _when(random), lasts)
    return Fault("freeze", COMMITTER, HEALED, lasts, random.randint(0, 50), random.randint(1, 20))


def _store(random: Random) -> Fault:
    kind = random.choice(("down", "silent", "slow", "lost", "cut", "refuses"))
    if kind == "refuses":
        lasts = random.choice((2.0, 6.0, 12.0, 20.0))
        return Fault(f"store {random.choice(tuple(REFUSALS))}", "", _when(random), lasts)
    lasts = random.choice((0.4, 1.5, 4.0, 9.0, 16.0)) if kind in {"down", "silent"} else random.choice((2.0, 8.0))
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
    *(_kill, _kill, _kill, _kill, _freeze, _freeze),
    *(_store, _store, _store, _bus, _bus, _bus),
    *(_rebalance, _answers, _clock, _channel),
)
"""What of ours breaks, as often as it stands here."""
