"""A short selection of seeds on every run of the suite; `make simulate` plays them all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.planted import BUGS

ROOT = Path(__file__).parents[2]


def played(*seeds: int, bug: str | None = None) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.simulation", "--worker", json.dumps({"seeds": seeds, "bug": bug})]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_nothing_is_lost_doubled_or_silent_in_forty_seeds() -> None:
    """Else one of two thousand schedules has ended in silence or in two cars."""
    assert {one["seed"]: one["findings"] for one in played(*range(40)) if one["findings"]} == {}


def test_one_seed_is_one_schedule() -> None:
    """Else a seed that failed cannot be looked at again."""
    once, again = played(7, 17, 21), played(3, 21, 17, 7)
    schedules = {one["seed"]: one["schedule"] for one in again}
    assert [schedules[one["seed"]] for one in once] == [one["schedule"] for one in once]


@pytest.mark.parametrize("bug", ["retry raises n", "no fence", "no version check"])
def test_a_planted_bug_is_noticed(bug: str) -> None:
    """Else the seeds hold because nobody looks."""
    assert played(*range(40), bug=bug)[-1]["findings"]


def test_a_bug_is_planted_on_a_step_that_the_product_names() -> None:
    """Else a private line that moves takes the bug with it, and nobody sees that nothing is planted any more."""
    assert [what for bug in BUGS for _, what, _ in bug.patches if what.startswith("_")] == []


TELLING = """
from shared.contract.callouts import CallOutFailed
from tests.simulation.city import DESKS
from tests.simulation.plan import STARTED, Fault, Plan
from tests.simulation.run import prepare
from tests.simulation.world import play

prepare()
"""


def printed(story: str) -> str:
    """What a story of one's own prints; it is told in a program of its own, as a run changes the whole program."""
    said = subprocess.run(
        [sys.executable, "-c", TELLING + story], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.stderr == ""
    return said.stdout


KEPT_CLAIM = """
habits = {desk: {"habit": "deliver", "reads_after": 90.0, "clears_after": None} for desk in DESKS}
for away in (15.0, 60.0):
    down = Fault("store down", "", STARTED, away)
    world = play(Plan(1, ((STARTED + 1, ("f9",)),), habits, "vanishes", (down,)))
    assert [sent.status for sent in world.crowd.sent if sent.act == "claims"][0] == 202, world.crowd.sent
    print(any("AlarmClaimed" in str(moment) for moment in world.timeline))
"""


def test_d12_a_claim_kept_while_the_store_was_away_lapses_by_the_services_own_clock() -> None:
    """Else whoever claimed and was called away holds the desk for another claim's time, and nobody is rung."""
    assert printed(KEPT_CLAIM).split() == ["True", "False"]


SLOW_STORE = """
habits = {desk: {"habit": "accept", "clears_after": None} for desk in DESKS}
slow = Fault("store slow", "", STARTED, 60.0, 0.6)
world = play(Plan(1, ((STARTED + 1, ("open", "place", "danger")),), habits, "deaf", (slow,)))
print(max(case.made_at for desk in world.desks.values() for case in desk.book.values()))
"""


def test_l1_a_late_attempt_leaves_though_every_answer_of_the_store_is_late_too() -> None:
    """Else no order leaves as long as a store takes over half a second to answer."""
    assert float(printed(SLOW_STORE)) < 20


IN_HAND = """
habits = {desk: {"habit": "accept", "clears_after": None} for desk in DESKS}
slow = Fault("store slow", "", STARTED, 20.0, 0.5)
silent = [Fault("blackhole", desk, 0.0, 20.0) for desk in DESKS]
killed = Fault("kill", "responder_adapter", STARTED + 9)
for faults in ((*silent, slow), (*silent, slow, killed)):
    world = play(Plan(1, ((STARTED + 1, ("open", "place", "danger")),), habits, "deaf", faults))
    said = world.kafka.records(CallOutFailed.topic)
    print(any(b"no_outcome" in (record.value or b"") for record in said))
"""


def test_l3_an_attempt_is_presumed_dead_only_when_its_process_died_with_it() -> None:
    """Else whoever waits for a slow answer makes another attempt, or whoever died in the middle of one none."""
    assert printed(IN_HAND).split() == ["False", "True"]
