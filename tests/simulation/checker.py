"""What must hold of a run: the invariants that every fault suite has, and what only a simulation can see.

The first are judged from what seats sent, desks wrote down and alarms rang, by the same code as with real processes.
Beyond them: whoever was promised a desk has one in the end, no process ended by itself, and the store says exactly
what the log of record says.
"""

import json
from collections.abc import Iterator
from typing import Any

from services.responder_adapter.retry_schedule import NO_OUTCOME
from shared.contract.callouts import CallOutFailed
from shared.contract.calls import AlarmPassedOn, AlarmSounded
from shared.kernel.log.suspects import CRASHES
from shared.kernel.machine.keeper import Keeper
from shared.kernel.rebuild.fold import LoggedEvent, replay_instances
from tests.faults.invariants import SEEN_WITHIN, Bounds, Finding, Verdict, judge
from tests.faults.seen import Car, Cry, Reply, Ring, Seen, Told
from tests.simulation.bus import Record
from tests.simulation.people import ADDRESS, Sent
from tests.simulation.store import REFUSALS
from tests.simulation.world import World

BOUNDS = Bounds(alarm=30.0, drained=None)
SHRUGGED_OFF = frozenset({"bus away", "bus lost", "rebalance", "clock jumps", "channel away"})
"""Faults of ours under which a healthy desk has an order within five seconds all the same."""


STORELESS = frozenset({"store down", "store silent", *(f"store {refusal}" for refusal in REFUSALS)})
"""Faults under which nothing is committed."""


def check(world: World) -> Verdict:
    """Everything that did not hold in this run, with its figures."""
    seen = observed(world)
    verdict = judge(seen, BOUNDS)
    more = (
        *unaccepted(seen),
        *late(world, seen),
        *unheard(world, seen),
        *owed(world, seen),
        *unread(world),
        *presumed_dead(world),
        *unplaced(world),
        *unsettled(world),
        *crashed(world),
        *dead_letters(world),
        *said_twice(world),
        *torn(world),
    )
    return Verdict((*verdict.findings, *more), verdict.figures)


def observed(world: World) -> Seen:
    """The three logs of a run."""
    known = {desk: list(desk.book.values()) for desk in world.desks.values()}
    return Seen(
        cries=tuple(_cries(world)),
        cars=tuple(
            Car(case.case, desk.name, case.key, case.made_at, case.accepted_at, case.by_phone)
            for desk, cases in known.items()
            for case in cases
            if case.made_at is not None
        ),
        told=tuple(
            Told(post.case, desk.name, post.key, post.at, post.cancels, post.stood_down)
            for desk in known
            for post in desk.posted
        ),
        rings=tuple(Ring(rung.case, rung.desk, rung.at) for rung in world.crowd.rung),
        replies=tuple(Reply(sent.key, sent.status, sent.took, _answer(sent)) for sent in world.crowd.sent),
    )


def _answer(sent: Sent) -> str:
    """What of an answer must be the same whenever the same key comes again."""
    return str(json.loads(sent.said)["screening"]) if sent.accepted and sent.act == "screenings" else ""


def _cries(world: World) -> Iterator[Cry]:
    decisive = [sent for sent in world.crowd.sent if sent.wish.decisive]
    for case in dict.fromkeys(sent.wish.case for sent in decisive):
        sent = [one for one in decisive if one.wish.case == case]
        accepted = [one for one in sent if one.accepted]
        desks = frozenset[str]().union(*(one.wish.desks for one in accepted or sent))
        yield Cry(case, desks, sent[0].at, min((one.at for one in accepted), default=None))


def unaccepted(seen: Seen) -> Iterator[Finding]:
    """I1 by people: that a machine at the desk has it is not enough; a person there, or one here, knows in time."""
    for cry, desk, saved in seen.pairs():
        cars = seen.cars_of.get((cry.case, desk), ())
        at = min((car.accepted for car in cars if car.accepted is not None), default=None)
        rang = seen.rang(cry.case, desk)
        first = min((moment for moment in (at, rang) if moment is not None), default=None)
        if cars and (first is None or first - saved > BOUNDS.alarm):
            yield Finding("I1", cry.case, f"nobody at {desk} accepted it, and nobody here was told, within 30 s")


def late(world: World, seen: Seen) -> Iterator[Finding]:
    """A desk that nothing ails has it at once; in five seconds while one thing of ours is slow or away."""
    ours = [fault for fault in world.plan.faults if fault.whom not in world.desks]
    refused = any(fault.kind == "clock jumps" and fault.whom == "responder_adapter" for fault in ours)  # its signatures
    if refused or any(fault.kind not in SHRUGGED_OFF for fault in ours) or len(ours) > 1:
        return
    ailing = {fault.whom for fault in world.plan.faults}
    bound = 5.0 if ours else 2.0
    for cry, desk, saved in seen.pairs():
        at = seen.delivered(cry.case, desk)
        if desk not in ailing and world.desks[desk].habit != "reject" and (at is None or at - saved > bound):
            took = "never" if at is None else f"after {at - saved:.1f} s"
            yield Finding("delivery", cry.case, f"{desk} had it {took}, asked {bound:g} s")


def unheard(world: World, seen: Seen) -> Iterator[Finding]:
    """While the store is away nothing goes out: whoever promises then tells a person within ten seconds."""
    away = [fault for fault in world.plan.faults if fault.kind in STORELESS and fault.lasts > 10]
    others = [fault for fault in world.plan.faults if fault.whom not in world.desks and fault not in away]
    for fault in away if not others else ():
        for cry, desk, saved in seen.pairs():
            known = [at for at in (seen.delivered(cry.case, desk), seen.rang(cry.case, desk)) if at is not None]
            within = fault.at < saved < fault.at + fault.lasts - 10
            if within and (not known or min(known) - saved > 10 + SEEN_WITHIN):
                yield Finding("I1", cry.case, f"promised without a store, and nobody told for {desk} in ten seconds")


def unread(world: World) -> Iterator[Finding]:
    """A ring that counts as passed on was in a message that somebody has read."""
    read = {(rung.case, rung.desk) for rung in world.crowd.rung if rung.through == "phone"}
    sounded: dict[tuple[str, int], list[str]] = {}
    for record in world.kafka.records(AlarmSounded.topic):
        kind = record.header("ce_type")
        if kind in {AlarmSounded.type_name(), AlarmPassedOn.type_name()}:
            said = json.loads(record.value or b"")
            case, ring = said["case"], said["ring"]
            desks = sounded.setdefault((case, ring), said.get("desks", []))
            if kind == AlarmPassedOn.type_name():
                unread = ((case, desk) for desk in desks if (case, desk) not in read)
                yield from (Finding("I1", case, f"its ring for {desk} was read by nobody") for case, desk in unread)


def presumed_dead(world: World) -> Iterator[Finding]:
    """Being slow makes no work: an attempt that is in the hands of a living process is not taken for dead."""
    ours = {fault.kind for fault in world.plan.faults if fault.whom not in world.desks}
    for record in world.kafka.records(CallOutFailed.topic) if ours <= {"store slow"} else ():
        if record.header("ce_type") == CallOutFailed.type_name():
            failed = CallOutFailed.model_validate_json(record.value or b"")
            if failed.reason == NO_OUTCOME:
                yield Finding("work", str(failed.case), f"attempt {failed.attempt} at {failed.desk} was in hand")


def owed(world: World, seen: Seen) -> Iterator[Finding]:
    """Whatever broke is whole again, and nobody gave up: every desk that was promised has it."""
    for cry, desk, _ in seen.pairs():
        refused = any(case.case == cry.case and case.made_at is None for case in world.desks[desk].book.values())
        if not (refused or (cry.case, desk) in seen.cars_of):
            yield Finding("promise", cry.case, f"{desk} never had it, although all is healed")


def unplaced(world: World) -> Iterator[Finding]:
    """I5: what was saved before the danger goes with it; a car without the address drives nowhere."""
    placed = {sent.wish.case for sent in world.crowd.sent if sent.wish.placed}
    for desk in world.desks.values():
        for case in desk.book.values():
            if case.case in placed and case.place != ADDRESS and case.reports_to:
                yield Finding("I5", case.case, f"{desk.name} was not told the address: {case.place}")


def unsettled(world: World) -> Iterator[Finding]:
    """I6: outboxes empty, everything heard."""
    if world.settled_at is None:
        yield Finding("I6", "", f"not settled: {', '.join(world.waiting()[:4]) or 'people still busy'}")


def crashed(world: World) -> Iterator[Finding]:
    """A process that ends by itself is a bug, and so is a person who was refused what is never refused."""
    for program in world.programs.values():
        yield from (Finding("crash", "", f"{program.name}: {crash}") for crash in program.crashes)
    yield from (Finding("people", "", wrong) for wrong in world.crowd.wrong)


def dead_letters(world: World) -> Iterator[Finding]:
    """Nobody here says what cannot be understood. What was in work at so many ends is rightly put aside."""
    enough = sum(fault.kind == "kill" for fault in world.plan.faults) >= CRASHES
    poisoned = any(program.poisoned for program in world.programs.values())
    rightly = {reason for reason, so in (("crash", enough), ("deadline", poisoned)) if so}
    for topic in sorted(world.kafka.logs):
        for record in world.kafka.records(topic) if topic.endswith(".dlq") else ():
            reason = record.header("dead_letter_reason")
            if reason not in rightly:
                yield Finding("dead letter", "", f"{record.header('ce_type')}: {reason}")


def said_twice(world: World) -> Iterator[Finding]:
    """An id names one fact: two different events under one id, and one of them is never learnt."""
    said: dict[str, bytes] = {}
    for record in world.kafka.records():
        if (event := record.header("ce_id")) and said.setdefault(event, record.value or b"") != record.value:
            yield Finding("I6", "", f"two events are called {event}: the second is a {record.header('ce_type')}")


def torn(world: World) -> Iterator[Finding]:
    """I6: the state in the store is the fold of the log, instance by instance."""
    for program in (program for program in world.programs.values() if program.keepers):
        keepers = program.keepers
        machines = [keeper.machine for keeper in keepers.values()]
        cases: dict[bytes, list[LoggedEvent]] = {}
        for record in world.kafka.records(*sorted({event.topic for event in program.emits})):
            cases.setdefault(record.key or b"", []).append(_said(record, program.emits))
        unread: list[str] = []
        for case, said in cases.items():
            for life in replay_instances(machines, said, unread):
                keeper = keepers[life.machine.name]
                kept = world.server.valkey.data.get(
                    keeper.instance_name(life.address.home, life.address.instance).encode(), {}
                )
                if life.missing or life.impossible or _told(keeper, life.state) != _had(keeper, kept):
                    what = (
                        f"{life.missing} commits missing, {life.impossible} impossible" if life.missing else "differs"
                    )
                    yield Finding("I6", case.decode(), f"{life.machine.name} …{life.address.instance[32:]}: {what}")
        yield from (Finding("I6", "", f"{program.name} cannot read its own {where}") for where in unread)
        yield from _unsaid(world, program.name, keepers, cases)


def _unsaid(
    world: World, name: str, keepers: dict[str, Keeper[Any]], cases: dict[bytes, list[LoggedEvent]]
) -> Iterator[Finding]:
    """What the store knows and the log has never heard of."""
    for key, kept in world.server.valkey.data.items():
        parts = key.decode().split(":")
        ours = len(parts) == 5 and parts[1] == name and parts[2] in keepers
        if ours and isinstance(kept, dict) and b"s" in kept and parts[4][:36].encode() not in cases:
            yield Finding("I6", parts[4], f"{parts[2]} is kept, and no record tells of it")


def _said(record: Record, emits: Any) -> LoggedEvent:
    kinds = {event.type_name(): event for event in emits}
    return LoggedEvent(
        f"{record.topic}/{record.partition}/{record.offset}",
        kinds[record.header("ce_type") or ""],
        record.header("ce_id") or "",
        record.header("ce_cause") or "",
        record.header("ce_sequence") or "",
        record.header("ce_drill") == "true",
        record.value or b"",
    )


def _told(keeper: Keeper[Any], state: Any) -> bytes:
    return keeper.states.dump_json(state)


def _had(keeper: Keeper[Any], kept: dict[bytes, bytes]) -> bytes | None:
    return keeper.states.dump_json(keeper.states.validate_json(kept[b"s"])) if b"s" in kept else None
