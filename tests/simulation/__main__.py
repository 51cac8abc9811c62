"""The seeded simulator: `python -m tests.simulation [--seeds 2000] [--keep]`, or `--seed N` for one, told in full.

Exit code 0 if everything held in every seed, and every planted bug was caught.
"""

import argparse
import json
import os
import sys


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", type=int, default=2000, help="how many (2000)")
    asked.add_argument("--first", type=int, default=0, help="from which on (0)")
    asked.add_argument("--seed", type=int, help="one seed, with its timeline")
    asked.add_argument("--bug", help="with this planted bug")
    asked.add_argument("--planted", action="store_true", help="only the planted bugs: the seed that catches each")
    asked.add_argument("--keep", action="store_true", help="write docs/reliability-report.md")
    asked.add_argument("--worker", help=argparse.SUPPRESS)
    told = asked.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a schedule
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    from tests.simulation import run, suite

    if told.worker:
        return run.work(**json.loads(told.worker))
    if told.seed is not None:
        return run.tell(told.seed, told.bug)
    summary = suite.whole(range(told.first, told.first + (0 if told.planted else told.seeds)))
    if told.keep:
        suite.say(f"{suite.keep(summary)}\n")
    return 0 if summary["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
