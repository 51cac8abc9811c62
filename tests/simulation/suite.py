"""Many seeds in several processes, and what came of them in figures."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from shared.kernel.clock import now
from tests.faults import report
from tests.simulation.planted import BUGS

PROCESSES = 2
PATIENCE = 200
"""Seeds within which a planted bug must be noticed."""

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]


def whole(seeds: Sequence[int]) -> Result:
    """Play all of them, tell what did not hold, and give the summary that the reliability report is made of."""
    began = time.monotonic()
    played = sorted(results(seeds, progress(len(seeds), began)), key=lambda one: one["seed"])
    failed = [one for one in played if one["findings"]]
    for one in failed:
        say(f"seed {one['seed']}: {'; '.join(one['findings'][:3])}   → make simulate SEED={one['seed']}\n")
    seconds = time.monotonic() - began
    figures = [one["figures"] for one in played]
    bugs = {bug.name: bug.words for bug in BUGS}
    caught = teeth(list(bugs))
    for name, seed in caught.items():
        say(f"a product in which {bugs[name]} ({name}): {'NOT CAUGHT' if seed is None else f'caught by seed {seed}'}\n")
    summary = {
        "held": not failed and None not in caught.values(),
        "seeds": len(played),
        "planted": caught,
        "failed": [one["seed"] for one in failed],
        "seconds": round(seconds, 1),
        "planted_seconds": round(time.monotonic() - began - seconds, 1),
        "cpu_seconds": round(sum(one["cpu"] for one in played), 1),
        **{name: sum(each[name] for each in figures) for name in ADDED},
        **{name: max((each[name] for each in figures if each[name] is not None), default=None) for name in SLOWEST},
        "revision": report.revision(),
        "machine": report.machine(),
        "at": now().isoformat(timespec="seconds"),
    }
    say(
        f"{summary['seeds']} seeds in {summary['seconds']} s: {summary['calls']} calls, {summary['lost']} lost, "
        f"{summary['doubled']} doubled, {len(failed)} seeds did not hold\n"
    )
    return summary


ADDED = ("calls", "accepted", "lost", "doubled", "true_alarms", "false_alarms", "posts")
SLOWEST = ("slowest_delivery", "slowest_alarm")


def results(seeds: Sequence[int], heard: Callable[[Result], None]) -> list[Result]:
    """What each seed came to, played by `PROCESSES` programs side by side."""
    shares = [{"seeds": list(seeds[n::PROCESSES])} for n in range(PROCESSES)]
    with ThreadPoolExecutor(PROCESSES) as readers:
        return [one for share in readers.map(lambda share: list(_played(share, heard)), shares) for one in share]


def teeth(bugs: Sequence[str]) -> dict[str, int | None]:
    """The first seed that notices each planted bug, None where `PATIENCE` seeds did not."""

    def first(bug: str) -> int | None:
        played = list(_played({"seeds": list(range(PATIENCE)), "bug": bug}, lambda _: None))
        return played[-1]["seed"] if played[-1]["findings"] else None

    with ThreadPoolExecutor(PROCESSES) as readers:
        return dict(zip(bugs, readers.map(first, bugs), strict=True))


def _played(told: dict[str, Any], heard: Callable[[Result], None]) -> Iterator[Result]:
    command = [sys.executable, "-m", "tests.simulation", "--worker", json.dumps(told)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        for line in worker.stdout:
            one = json.loads(line)
            heard(one)
            yield one
    if worker.returncode:
        raise SystemExit(f"A simulation worker ended with {worker.returncode}; its error is above.")


def progress(of: int, began: float) -> Callable[[Result], None]:
    """Tell how far it is, on a terminal."""
    done = failed = 0

    def heard(one: Result) -> None:
        nonlocal done, failed
        done, failed = done + 1, failed + bool(one["findings"])
        if sys.stdout.isatty():
            say(f"\r{done}/{of} seeds, {failed} did not hold, {time.monotonic() - began:.0f} s ")

    return heard


def keep(summary: Result) -> Path:
    """Leave the summary where the reliability report finds it, and have that written anew."""
    report.reports().mkdir(parents=True, exist_ok=True)
    (report.reports() / report.SIMULATION).write_text(json.dumps(summary, ensure_ascii=False, indent=1))
    return report.write()


def say(words: str) -> None:
    sys.stdout.write(words)
    sys.stdout.flush()
