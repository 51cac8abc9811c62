"""`python -m tests.faults [--only F1,F3] [--seed N]`: the fault suite; exit code 1 when something did not hold."""

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import (
    f01_kill,
    f02_brokers,
    f03_valkey,
    f04_full_disk,
    f05_zombie,
    f06_bad_desks,
    f07_one_desk,
    f08_network,
    f09_clock,
    f10_poison,
    f11_herd,
    f12_watchers,
    f13_rolling,
    f14_rebuild,
    f15_refusals,
    f16_unreadable,
    f17_deadlines,
    f18_connections,
    f19_host,
    f20_partitions,
    f21_copy,
    report,
)
from tests.faults.fault import Fault, Outcome
from tests.faults.play import Turn, play

FAULTS: tuple[Fault, ...] = (
    *f01_kill.FAULTS,
    *f02_brokers.FAULTS,
    *f03_valkey.FAULTS,
    *f04_full_disk.FAULTS,
    *f06_bad_desks.FAULTS,
    *f05_zombie.FAULTS,
    *f07_one_desk.FAULTS,
    *f08_network.FAULTS,
    *f09_clock.FAULTS,
    *f11_herd.FAULTS,
    *f12_watchers.FAULTS,
    *f10_poison.FAULTS,
    *f13_rolling.FAULTS,
    *f14_rebuild.FAULTS,
    *f15_refusals.FAULTS,
    *f16_unreadable.FAULTS,
    *f17_deadlines.FAULTS,
    *f18_connections.FAULTS,
    *f19_host.FAULTS,
    *f21_copy.FAULTS,
    *f20_partitions.FAULTS,
)


def chosen(only: str | None) -> list[Fault]:
    """`F1` is F1 and its variants F1a, F1b…, and not F11."""
    names = only.split(",") if only else []
    return [fault for fault in FAULTS if not names or {fault.name, fault.name.rstrip("abcdefgh")} & set(names)]


async def played(faults: list[Fault], seed: int, state: Path) -> list[Outcome]:
    began = time.monotonic()

    def tell(words: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:6.1f}  {words}\n")
        sys.stdout.flush()

    turn, playing = Turn(), []
    async with asyncio.TaskGroup() as stages:
        for shape in dict.fromkeys(fault.shape for fault in faults):
            mine, home = [fault for fault in faults if fault.shape == shape], state / shape.name.replace(" ", "-")
            playing.append(stages.create_task(play(home, mine, seed, tell, turn)))
            await turn.over.wait()
            turn = turn.next()
    return [outcome for stage in playing for outcome in stage.result()]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", help="faults, e.g. F1,F3")
    arguments.add_argument("--seed", type=int, default=None)
    arguments.add_argument("--state", type=Path, default=None, help="where data and logs are kept")
    told = arguments.parse_args()
    seed = secrets.randbelow(2**31) if told.seed is None else told.seed
    sys.stdout.write(f"seed {seed}\n")
    state = told.state or Path(tempfile.mkdtemp(prefix="jingyi-faults-"))
    began, load = time.monotonic(), os.getloadavg()[0]
    outcomes = asyncio.run(played(chosen(told.only), seed, state))
    if told.only is None:
        report.keep(outcomes, seed, time.monotonic() - began, load)
        sys.stdout.write(f"{report.write()}\n")
    return 0 if all(outcome.held for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
