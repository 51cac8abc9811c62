"""Plays faults, one after the other on one stage: load, fault, healing, and the checker's word on it."""

import asyncio
import json
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import healing
from tests.faults.fault import Fault, Outcome, Scene
from tests.faults.hotline import Hotline
from tests.faults.invariants import Bounds
from tests.faults.logs import ALARMS, CLIENT, PROBES, Log
from tests.faults.seats import Seats, watching
from tests.faults.stage import Stage, stage

BEFORE, AFTER = 0.5, 1.0
"""Seconds of undisturbed load before a fault and after it."""

KNOWN_WITHIN = 35.0
"""Seconds after the last call until each desk, or a human, must have been told: the slowest bound and a margin."""

Tell = Callable[[str], None]


@dataclass
class Turn:
    """A stage goes up, and is looked over and taken down, beside others; its faults it has to itself."""

    before: asyncio.Event | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    down: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self) -> "Turn":
        return Turn(self.down)


async def play(state: Path, faults: Sequence[Fault], seed: int, tell: Tell, turn: Turn | None = None) -> list[Outcome]:
    """The faults on one system, which all of them need; then, once more over all of them, whether anything was lost,
    doubled or made up."""
    turn, shape = turn or Turn(), faults[0].shape
    async with AsyncExitStack() as stack:
        stack.callback(turn.down.set)
        made = await stack.enter_async_context(stage(state, shape))
        tell(f"{shape.name}: up after {made.running.took:.0f} s")
        if turn.before:
            await turn.before.wait()
        logs = {name: Log(made.folder.seen / name, lambda: made.fault) for name in (CLIENT, ALARMS, PROBES)}
        for log in logs.values():
            stack.callback(log.close)
        seats = await stack.enter_async_context(watching(made.where, logs[ALARMS], made.folder))
        settling = []
        for fault in faults:
            scene = await inflicted(made, fault, Played(logs, seats, seed, tell))
            settling.append(asyncio.create_task(settled(made, fault, scene, tell)))
        outcomes = await asyncio.gather(*settling)
        turn.over.set()
        made.fault = ""
        await look(made, logs[PROBES])
        whole = await judged(made, None, Bounds(alarm=1e9, drained=None))
        everything = Outcome(f"all on {shape.name}", "everything above, judged together", {}, *whole, [], 0.0)
        outcomes = [*outcomes, everything]
    return list(outcomes)


@dataclass(frozen=True)
class Played:
    """What the faults of a stage have in common."""

    logs: dict[str, Log]
    seats: Seats
    seed: int
    tell: Tell


async def inflicted(made: Stage, fault: Fault, on: Played) -> Scene:
    """Calls come in, the fault is inflicted and healed, calls stop, and what was left over is worked off."""
    clock = asyncio.get_running_loop().time
    made.fault, chance = fault.name, Random(on.seed ^ zlib.crc32(fault.name.encode()))
    scene = Scene(made, chance, lambda words: on.tell(f"{fault.name}: {words}"), on.logs[PROBES], on.seats, clock())
    hotline = Hotline(made.where, on.logs[CLIENT], chance.randrange(2**32))
    try:
        async with hotline.calling(fault.rate, fault.also, only_by_hand=fault.only_by_hand):
            await asyncio.sleep(BEFORE)
            await fault.inflict(scene)
            healed = clock()
            await asyncio.sleep(AFTER)
        await hotline.answered()
    finally:
        await hotline.close()
    await probe(made, fault, on.logs[PROBES], healed)
    return scene


async def settled(made: Stage, fault: Fault, scene: Scene, tell: Tell) -> Outcome:
    """The checker's word, once each call is with its desks or with a human; the next fault is under way meanwhile."""
    seconds = asyncio.get_running_loop().time() - scene.began
    await known(made, fault)
    figures, broken, findings = await judged(made, fault.name, fault.bounds)
    outcome = Outcome(fault.name, fault.words, asked(fault.bounds), figures, broken, findings, scene.notes, seconds)
    tell(f"{fault.name}: {said(outcome)}")
    return outcome


async def known(made: Stage, fault: Fault) -> None:
    """Wait until every accepted call is with each of its desks, or a human was told, or it is too late for both."""
    seen = made.folder.of(fault.name)
    give_up = time.time() + KNOWN_WITHIN
    while time.time() < give_up and any(
        seen.delivered(cry.case, desk) is None and seen.rang(cry.case, desk) is None for cry, desk, _ in seen.pairs()
    ):
        await asyncio.sleep(2)
        seen = made.folder.of(fault.name)


async def probe(made: Stage, fault: Fault, log: Log, healed: float) -> None:
    """How long after healing what lay there when the calls stopped was worked off."""
    within = fault.bounds.drained
    if within is not None:
        draining = healing.Draining(made.running.redis_url, made.kafka)
        since = asyncio.get_running_loop().time() - healed
        took = await healing.seconds_until(draining.over, healed, max(within, since + 5))
        log.write("probe", probe="drained", took=took, asked=within)


async def look(made: Stage, log: Log) -> None:
    """What the product's own commands say when all is over: nobody unaccounted for, and store and log of one mind.

    The second is asked of services at rest: one that runs is always a moment ahead of the log.
    """
    state, kafka, clock = made.running.state, made.kafka, asyncio.get_running_loop().time
    took = await healing.seconds_until(partial(healing.accounted, state, kafka), clock(), 60)
    log.write("probe", probe="accounted", took=took, asked=60)
    if made.shape.compared:
        await made.rest()
        took = await healing.seconds_until(partial(healing.equal, state, kafka), clock(), 30)
        log.write("probe", probe="hash-equal", took=took, asked=60)


async def judged(
    made: Stage, fault: str | None, bounds: Bounds
) -> tuple[dict[str, Any], dict[str, int], list[dict[str, str]]]:
    """The verdict of the checker, a program of its own that sees the logs and nothing else."""
    which = ("--fault", fault) if fault else ()
    command = (sys.executable, "-m", "tests.faults.checker", str(made.folder.path), *which)
    checker = await asyncio.create_subprocess_exec(
        *command,
        "--bounds",
        json.dumps(asked(bounds)),
        stdout=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )
    said, _ = await checker.communicate()
    verdict = json.loads(said)
    return verdict["figures"], verdict["broken"], verdict["findings"]


def asked(bounds: Bounds) -> dict[str, Any]:
    return {**asdict(bounds), "exempt": sorted(bounds.exempt)}


def said(outcome: Outcome) -> str:
    """One line of progress."""
    f = outcome.figures
    held = "held" if outcome.held else f"DID NOT HOLD {outcome.broken}"
    slowest = ", ".join(
        f"{words} {f[name]:.1f} s"
        for name, words in (("slowest_delivery", "delivered"), ("slowest_alarm", "alarm"))
        if f[name] is not None
    )
    counted = f"{f['accepted']} of {f['calls']} calls, lost {f['lost']}, doubled {f['doubled']}"
    rung = f"alarms {f['true_alarms']} true {f['false_alarms']} false"
    return f"{held}: {counted}, {rung}, slowest {slowest or '-'}, {outcome.seconds:.0f} s"
