"""Plays seeds one after the other and says what came of each."""

import gc
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any

import structlog

from shared.kernel.machine import keeper
from tests.simulation.checker import check
from tests.simulation.city import DESKS
from tests.simulation.plan import draw
from tests.simulation.planted import planted
from tests.simulation.routes import postpone
from tests.simulation.world import forget, play


def silence(*_: object) -> str:
    """The product's log is not what a run is judged by."""
    raise structlog.DropEvent


def prepare() -> None:
    """What holds for the whole program: no log, routes late, types worked out once, garbage between runs."""
    structlog.configure(processors=[silence])
    logging.disable()
    warnings.simplefilter("ignore", RuntimeWarning)  # of what was in the middle of something when its run ended
    postpone()
    keeper.TypeAdapter = cache(keeper.TypeAdapter)  # type: ignore[attr-defined, assignment]
    gc.disable()
    play(draw(0, DESKS))
    forget()
    gc.freeze()


def work(seeds: Iterable[int], bug: str | None = None) -> int:
    """Play each seed, a line of JSON for each; with a planted bug until one of them has caught it."""
    prepare()
    with planted(bug):
        for seed in seeds:
            began = time.process_time()
            one = played(seed)
            forget()
            one["cpu"] = time.process_time() - began
            sys.stdout.write(json.dumps(one) + "\n")
            sys.stdout.flush()
            if bug and one["findings"]:
                break
    return 0


def played(seed: int) -> dict[str, Any]:
    """What one seed came to."""
    world = play(draw(seed, DESKS))
    verdict = check(world)
    return {
        "seed": seed,
        "schedule": world.schedule,
        "findings": [f"{found.invariant} {found.words}" for found in verdict.findings],
        "figures": vars(verdict.figures),
    }


def tell(seed: int, bug: str | None = None) -> int:
    """Play one seed and print all that happened."""
    prepare()
    plan = draw(seed, DESKS)
    with planted(bug):
        world = play(plan)
        verdict = check(world)
    lines = [f"seed {seed}: the supervisor {plan.manner}", *(f"{desk} {plan.habits[desk]}" for desk in DESKS)]
    lines += map(str, world.timeline)
    lines += [f"{found.invariant}: {found.words} {found.case}" for found in verdict.findings]
    lines += [f"schedule {world.schedule}: {'did NOT hold' if verdict.findings else 'held'}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bool(verdict.findings))
