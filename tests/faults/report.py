"""Writes docs/reliability-report.md: what the fault suite and the simulator found: `python -m tests.faults.report`.

Each leaves its findings as JSON under `.jingyi/reports`; whichever ends writes the whole page anew. Nobody edits it.
"""

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.local import folders, valkey
from deploy.local.folders import ROOT
from shared.kernel.clock import now
from tests.faults.fault import Outcome

PAGE = ROOT / "docs" / "reliability-report.md"
FAULTS, SIMULATION = "faults.json", "simulation.json"
HEAD = """# Reliability report

Written by `make faults` and `make simulate`, not by hand. Real Kafka, Valkey, services and desks, as processes on one
machine. A separate program judges from what the seats sent and were answered, from the desks' own logs and from what
people were told; it knows nothing of the system's own state. *Lost*: accepted, and neither at its desk nor any human
told. *Doubled*: two incidents at one desk for one case, whatever the keys. An alarm is *true* while its desk had not
accepted. Seconds run from the attempt that got the 2xx; desks that are themselves the fault are not in *delivered*.
"""
Found = Mapping[str, Any]


def reports() -> Path:
    """Where both leave what they found."""
    return folders.state() / "reports"


def keep(outcomes: Sequence[Outcome], seed: int, seconds: float, load: float) -> Path:
    """The suite's findings, with what ran them."""
    found = {
        "at": now().isoformat(timespec="seconds"),
        "revision": revision(),
        "seed": seed,
        "seconds": round(seconds),
        "machine": f"{machine()}; other work beside it: load average {load:.1f} before the first fault",
        "outcomes": [{**asdict(outcome), "held": outcome.held} for outcome in outcomes],
    }
    reports().mkdir(parents=True, exist_ok=True)
    kept = reports() / FAULTS
    kept.write_text(json.dumps(found, ensure_ascii=False, indent=1))
    return kept


def write() -> Path:
    """The page, out of whatever has been found so far."""
    parts = [HEAD]
    for name, drawn in ((FAULTS, suite), (SIMULATION, simulation)):
        kept = reports() / name
        if kept.exists():
            parts.append("\n".join(drawn(json.loads(kept.read_text()))) + "\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    return PAGE


def suite(found: Found) -> Iterator[str]:
    """The fault suite's part."""
    rows = [one for one in found["outcomes"] if one["bounds"]]
    counted = {name: sum(one["figures"][name] for one in rows) for name in COUNTED}
    yield "## Fault suite: `make faults`\n"
    yield from facts(found, f"`python -m tests.faults --seed {found['seed']}`")
    yield f"- {counted['calls']} calls, {counted['accepted']} accepted: **{counted['lost']} lost**,"
    yield f"  **{counted['doubled']} doubled**; {counted['true_alarms']} true alarms, {counted['false_alarms']} false;"
    yield f"  {sum(one['held'] for one in rows)} of {len(rows)} faults held every bound\n"
    yield HEADINGS
    yield "|---" * 11 + "|"
    yield from map(row, sorted(rows, key=lambda one: (int(re.findall(r"\d+", one["name"])[0]), one["name"])))
    yield "\nEach time is followed by the bound that was asked of it, where one was.\n"
    yield from unheld(found["outcomes"])
    yield from noted(rows)


HEADINGS = (
    "| | fault | calls | lost | doubled | alarms true · false | slowest delivered | slowest alarm | 2xx p99 "
    "| drained | held |"
)
COUNTED = ("calls", "accepted", "lost", "doubled", "true_alarms", "false_alarms")


def row(one: Found) -> str:
    """One fault."""
    figures, bounds = one["figures"], one["bounds"]
    p99 = figures["accept_p99"]
    cells = (
        one["name"],
        one["words"],
        figures["calls"] if figures["calls"] == figures["accepted"] else f"{figures['calls']} ({figures['accepted']})",
        figures["lost"],
        figures["doubled"],
        f"{figures['true_alarms']} · {figures['false_alarms']}",
        took(figures["slowest_delivery"], bounds["delivery"]),
        "none allowed" if bounds["quiet"] else took(figures["slowest_alarm"], bounds["alarm"]),
        "–" if p99 is None else f"{p99 * 1000:.0f} ms",
        took(figures["probes"].get("drained"), bounds["drained"]),
        "yes" if one["held"] else "**no**",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def took(seconds: float | None, asked: float | None) -> str:
    measured = "–" if seconds is None else f"{seconds:.1f} s"
    return measured if asked is None else f"{measured} / {asked:g}"


def unheld(outcomes: Sequence[Found]) -> Iterator[str]:
    """What did not hold, in the checker's words."""
    broken = [one for one in outcomes if not one["held"]]
    yield "### What did not hold\n" if broken else "### What did not hold: nothing\n"
    for one in broken:
        for invariant, times in one["broken"].items():
            words = [finding["words"] for finding in one["findings"] if finding["invariant"] == invariant]
            yield f"- **{one['name']}** {invariant}, {times} times, e.g. {words[0]}"
    if broken:
        yield ""


def noted(rows: Sequence[Found]) -> Iterator[str]:
    """What was noted on the way, and what else was measured."""
    yield "### Notes\n"
    for one in rows:
        probes = ((what, seconds) for what, seconds in one["figures"]["probes"].items() if what != "drained")
        measured = [f"{what}: {'never' if seconds is None else f'{seconds:.2f} s'}" for what, seconds in probes]
        if words := "; ".join((*one["notes"], *measured)):
            yield f"- {one['name']}: {words}"


def simulation(found: Found) -> Iterator[str]:
    """The simulator's part."""
    yield "## Simulator: `make simulate`\n"
    yield from facts(found, f"{found['seeds']} seeds")
    yield f"- {found['calls']} calls, {found['accepted']} accepted: **{found['lost']} lost**,"
    yield f"  **{found['doubled']} doubled**; {found['true_alarms']} true alarms, {found['false_alarms']} false;"
    delivery, alarm = found["slowest_delivery"], found["slowest_alarm"]
    yield f"  slowest delivered {took(delivery, None)}, slowest alarm {took(alarm, None)}, in virtual time"
    failed = found["failed"]
    yield f"- seeds that did not hold: {', '.join(map(str, failed[:20])) or 'none'}\n"
    if planted := found.get("planted"):
        hunted = f"hunted in {found['planted_seconds']:.0f} s"
        yield f"{len(planted)} bugs, each planted into a product of its own, {hunted}:\n"
        yield "| planted bug | caught by seed |"
        yield "|---|---|"
        yield from (f"| {name} | {'**not caught**' if seed is None else seed} |" for name, seed in planted.items())


def facts(found: Found, what: str) -> Iterator[str]:
    """What ran, when, on what."""
    yield f"- {what}, {found['seconds']:.0f} s, {found['at']}, revision `{found['revision']}`"
    yield f"- {found['machine']}"


def machine() -> str:
    """Cores, memory, and the versions of everything that matters."""
    listed = (ROOT / "deploy" / "local" / "kafka-jars.txt").read_text()
    kafka = re.search(r"kafka-clients:([\d.]+)", listed)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    store = ".".join(map(str, valkey.version(valkey.server())))
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, Kafka {kafka[1] if kafka else '?'}, Valkey {store}"
    )


def revision() -> str:
    """The commit, and whether anything but the page itself differs from it."""
    head = _git("rev-parse", "--short", "HEAD").stdout.strip() or "unknown"
    page = str(PAGE.relative_to(ROOT))
    return head + ("-dirty" if _git("diff", "--quiet", "HEAD", "--", ".", f":!{page}").returncode else "")


def _git(*asked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *asked], cwd=ROOT, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    write()
