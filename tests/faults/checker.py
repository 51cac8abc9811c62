"""Judges a run from its logs alone, as a program of its own: `python -m tests.faults.checker FOLDER [--fault F1]`.

Prints the verdict as JSON; exit code 1 if anything did not hold, 0 if all did.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.invariants import Bounds, judge
from tests.faults.logs import Folder

SHOWN = 20
"""Findings of one invariant that are printed at the most; the rest are counted."""


def bounds(told: dict[str, Any]) -> Bounds:
    """From JSON, as the suite passes them."""
    return Bounds(**{**told, "exempt": frozenset(told.get("exempt", ()))})


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--fault", help="only the calls of this fault")
    arguments.add_argument("--bounds", type=json.loads, default={}, help="JSON: alarm, delivery …")
    chosen = arguments.parse_args()
    folder = Folder(chosen.folder)
    verdict = judge(folder.of(chosen.fault) if chosen.fault else folder.read(), bounds(chosen.bounds))
    counted: dict[str, int] = {}
    shown = []
    for finding in verdict.findings:
        counted[finding.invariant] = counted.get(finding.invariant, 0) + 1
        if counted[finding.invariant] <= SHOWN:
            shown.append(asdict(finding))
    json.dump({"figures": asdict(verdict.figures), "broken": counted, "findings": shown}, sys.stdout)
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
