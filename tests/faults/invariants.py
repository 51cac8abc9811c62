"""What must hold of every call, whatever breaks: judged from what the seats sent, the desks made and the alarms rang.

I1 an accepted call has each desk, or a human rung, in time. I2 no desk makes two incidents of it. I3 no desk is
ordered after it stood down. I4 no desk acts on a call nobody made. I5 what got no answer is absent or whole, and one
key has one answer. I6 after healing all is drained and equal. I7 alarms, true and false. I8 the audit has all. I9 F9
is taken at its first try.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.faults.seen import Ring, Seen

SEEN_WITHIN = 1.0
"""Seconds by which a watcher that looks twice a second may see an alarm later than it rang."""

RINGS_AT = 20.0
"""Seconds after which a desk that has not accepted rings, as the city's pack has it."""


@dataclass(frozen=True)
class Bounds:
    """Seconds asked for; None asks nothing. Desks that are themselves the fault owe no `delivery`.

    `quiet`: nothing is to ring; `earned`: only for a desk that was late; `first_try`: each attempt of an F9 is taken.
    """

    alarm: float = 30.0
    delivery: float | None = None
    drained: float | None = 60.0
    exempt: frozenset[str] = frozenset()
    quiet: bool = False
    earned: bool = False
    first_try: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that did not hold."""

    invariant: str
    case: str
    words: str


@dataclass(frozen=True)
class Figures:
    """What the report shows of one fault; times in seconds, None where nothing of the kind happened."""

    calls: int
    accepted: int
    lost: int
    doubled: int
    true_alarms: int
    false_alarms: int
    slowest_delivery: float | None
    slowest_alarm: float | None
    accept_p99: float | None
    posts: int
    probes: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What did not hold, and the figures."""

    findings: tuple[Finding, ...]
    figures: Figures


def judge(seen: Seen, bounds: Bounds = Bounds()) -> Verdict:
    """Every invariant over everything that was seen."""
    checks = (
        silent(seen, bounds),
        late(seen, bounds),
        doubled(seen),
        out_of_order(seen),
        phantoms(seen),
        half_done(seen),
        two_answers(seen),
        not_healed(seen),
        false_rings(seen) if bounds.quiet else (),
        unearned_rings(seen) if bounds.earned else (),
        tried_again(seen) if bounds.first_try else (),
    )
    return Verdict(tuple(finding for check in checks for finding in check), figures(seen, bounds))


def silent(seen: Seen, bounds: Bounds) -> Iterator[Finding]:
    """I1: neither the desk nor a human knows in time."""
    for cry, desk, saved in seen.pairs():
        known = [at for at in (seen.delivered(cry.case, desk), seen.rang(cry.case, desk)) if at is not None]
        if not known:
            yield Finding("I1", cry.case, f"lost: {desk} never had it and nobody was told to phone")
        elif min(known) - saved > bounds.alarm + SEEN_WITHIN:
            yield Finding("I1", cry.case, f"silent: {desk} or a human knew after {min(known) - saved:.1f} s")


def late(seen: Seen, bounds: Bounds) -> Iterator[Finding]:
    """The bound of this fault on saved → delivered."""
    if bounds.delivery is None:
        return
    for cry, desk, saved in seen.pairs():
        if desk in bounds.exempt:
            continue
        delivered = seen.delivered(cry.case, desk)
        if delivered is None or delivered - saved > bounds.delivery:
            took = "never" if delivered is None else f"after {delivered - saved:.1f} s"
            yield Finding("delivery", cry.case, f"{desk} had it {took}, asked {bounds.delivery:g} s")


def doubled(seen: Seen) -> Iterator[Finding]:
    """I2: by content, whatever the key: a case is one person, and one desk sends one car."""
    for (case, desk), cars in seen.cars_of.items():
        if len(cars) > 1:
            yield Finding("I2", case, f"{desk} made {len(cars)} incidents: {', '.join(car.key for car in cars)}")


def out_of_order(seen: Seen) -> Iterator[Finding]:
    """I3: a desk that has stood down on a key is not ordered on it again."""
    down: dict[tuple[str, str], float] = {}
    for told in sorted(seen.told, key=lambda told: told.at):
        if told.cancels and told.stood_down:
            down.setdefault((told.desk, told.key), told.at)
        elif not told.cancels and (told.desk, told.key) in down:
            yield Finding("I3", told.case, f"{told.desk} was ordered on {told.key} after it had stood down")


def phantoms(seen: Seen) -> Iterator[Finding]:
    """I4: every car belongs to a call that a seat sent, and to a desk that it may reach."""
    sent = {cry.case for cry in seen.cries}
    yield from (
        Finding("I4", car.case, f"{car.desk} acts on {car.key}, which nobody sent")
        for car in seen.cars
        if car.case not in sent
    )


def half_done(seen: Seen) -> Iterator[Finding]:
    """I5: a call that never got its 2xx is at none of its desks, or at all, or a human was told."""
    for cry in seen.cries:
        reached = {desk for desk in cry.desks if (cry.case, desk) in seen.cars_of}
        missing = sorted(desk for desk in cry.desks - reached if seen.rang(cry.case, desk) is None)
        if cry.accepted is None and reached and missing:
            yield Finding("I5", cry.case, f"no answer, {', '.join(sorted(reached))} came but not {', '.join(missing)}")


def two_answers(seen: Seen) -> Iterator[Finding]:
    """I5: the same key again gets the same answer."""
    said: dict[str, set[str]] = defaultdict(set)
    for reply in seen.replies:
        if 200 <= reply.status < 300 and reply.said:
            said[reply.key].add(reply.said)
    yield from (
        Finding("I5", "", f"key {key} got {len(answers)} answers")
        for key, answers in said.items()
        if answers - {min(answers)}
    )


def not_healed(seen: Seen) -> Iterator[Finding]:
    """I6, I8: what a look at the whole found after healing, or a fault measured on its way."""
    for probe in seen.probes:
        if probe.took is None or probe.took > probe.asked:
            took = "never" if probe.took is None else f"{probe.took:.2f} s"
            which = "I8" if probe.what == "accounted" else "I6"
            yield Finding(which, "", f"{probe.what}: {took}, asked {probe.asked:g} s")


def false_rings(seen: Seen) -> Iterator[Finding]:
    """Where no alarm is to ring at all."""
    yield from (Finding("I7", ring.case, f"rang for {ring.desk or 'the case'}") for ring in seen.rings)


def unearned_rings(seen: Seen) -> Iterator[Finding]:
    """I7: rings for a desk that had it before the moment at which its silence was to ring."""
    for cry in seen.cries:
        for desk in cry.desks if cry.accepted is not None else ():
            ring = next((ring for ring in seen.rings_of.get(cry.case, ()) if ring.desk in {desk, None}), None)
            delivered = seen.delivered(cry.case, desk)
            if ring is None or delivered is None or cry.accepted is None:
                continue
            before = min(ring.since or ring.at, cry.accepted + RINGS_AT) - delivered
            if before > 0:
                yield Finding("I7", cry.case, f"rang for {desk}, which had it {before:.1f} s before it was to ring")


def tried_again(seen: Seen) -> Iterator[Finding]:
    """I9: an F9 was refused, or not answered."""
    for reply in seen.replies:
        if reply.by_hand and not 200 <= reply.status < 300:
            said = f"got {reply.status}" if reply.status else "got no answer"
            yield Finding("I9", "", f"F9 {reply.key} {said} after {reply.took:.1f} s")


def needed(seen: Seen, ring: Ring, desks: Iterable[str]) -> bool:
    """I7: whether a desk that the ring is about had nobody's word yet that somebody comes."""
    accepted = {
        car.desk: car.accepted
        for desk in desks
        for car in seen.cars_of.get((ring.case, desk), ())
        if car.accepted is not None
    }
    return any(accepted.get(desk, ring.at) >= ring.at for desk in desks)


def figures(seen: Seen, bounds: Bounds) -> Figures:
    """The row of the report."""
    deliveries, alarms, lost = [], [], set()
    for cry, desk, saved in seen.pairs():
        delivered, rang = seen.delivered(cry.case, desk), seen.rang(cry.case, desk)
        if delivered is not None and desk not in bounds.exempt:
            deliveries.append(delivered - saved)
        if rang is not None and (delivered is None or rang < delivered):
            alarms.append(rang - saved)
        if delivered is None and rang is None:
            lost.add(cry.case)
    desks = {cry.case: cry.desks for cry in seen.cries}
    first = {(ring.case, ring.desk): ring for ring in sorted(seen.rings, key=lambda ring: ring.at, reverse=True)}
    true = [needed(seen, r, {r.desk} if r.desk else desks.get(r.case, ())) for r in first.values()]
    return Figures(
        calls=len(seen.cries),
        accepted=len(seen.accepted),
        lost=len(lost),
        doubled=sum(len(cars) > 1 for cars in seen.cars_of.values()),
        true_alarms=sum(true),
        false_alarms=len(true) - sum(true),
        slowest_delivery=max(deliveries, default=None),
        slowest_alarm=max(alarms, default=None),
        accept_p99=p99(reply.took for reply in seen.replies if 200 <= reply.status < 300),
        posts=sum(not told.cancels for told in seen.told),
        probes={probe.what: probe.took for probe in seen.probes},
    )


def p99(took: Iterable[float]) -> float | None:
    """By nearest rank; None of nothing."""
    ordered = sorted(took)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else None
