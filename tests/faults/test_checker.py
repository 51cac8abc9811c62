"""The checker finds what it is for: each planted bad history is called by its invariant, and a good one by none."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.invariants import Bounds, judge
from tests.faults.seen import Car, Cry, Probe, Reply, Ring, Seen, Told

POLICE, AMBULANCE = "140700-110", "140700-120"
BOTH = frozenset({POLICE, AMBULANCE})
ONE = Cry("one", BOTH, sent=0.0, accepted=0.1)


def car(desk: str, at: float = 0.2, n: int = 1, accepted: float | None = 0.2) -> Car:
    return Car("one", desk, f"one/{desk}/{n}", at, accepted)


def order(at: float) -> Told:
    return Told("one", POLICE, f"one/{POLICE}/1", at)


GOOD = Seen(
    cries=(ONE,),
    cars=(car(POLICE), car(AMBULANCE)),
    told=(order(0.2), Told("one", AMBULANCE, f"one/{AMBULANCE}/1", 0.2)),
    replies=(Reply("k", 503, 3.0), Reply("k", 201, 0.01, "s1"), Reply("k", 201, 0.01, "s1")),
    probes=(Probe("drained", 2.0, 60),),
)
STRICT = Bounds(delivery=5, quiet=True, first_try=True)


def named(seen: Seen, bounds: Bounds = STRICT) -> set[str]:
    return {finding.invariant for finding in judge(seen, bounds).findings}


def test_a_call_whose_desks_came_once_and_in_time_has_nothing_against_it() -> None:
    assert named(GOOD) == set()
    assert judge(GOOD, STRICT).figures.lost == 0


@pytest.mark.parametrize(
    ("invariant", "bad"),
    [
        ("I1", replace(GOOD, cars=(car(POLICE),))),
        ("I1", replace(GOOD, cars=(car(POLICE), car(AMBULANCE, at=40)))),
        ("I1", replace(GOOD, cars=(car(POLICE),), rings=(Ring("one", AMBULANCE, 33),))),
        ("I1", replace(GOOD, cars=(car(POLICE),), rings=(Ring("one", POLICE, 20), Ring("two", AMBULANCE, 20)))),
        ("delivery", replace(GOOD, cars=(car(POLICE), car(AMBULANCE, at=6)))),
        ("I2", replace(GOOD, cars=(*GOOD.cars, car(POLICE, at=9)))),
        ("I2", replace(GOOD, cars=(*GOOD.cars, car(POLICE, at=9, n=2)))),
        ("I2", replace(GOOD, cars=(*GOOD.cars, Car("one", POLICE, "by phone", 9, 9, by_phone=True)))),
        ("I3", replace(GOOD, told=(replace(order(1), cancels=True, stood_down=True), order(2)))),
        ("I4", replace(GOOD, cars=(*GOOD.cars, Car("two", POLICE, "two/1", 1)))),
        ("I5", replace(GOOD, cries=(replace(ONE, accepted=None),), cars=(car(POLICE),))),
        ("I5", replace(GOOD, replies=(*GOOD.replies, Reply("k", 201, 0.01, "s2")))),
        ("I6", replace(GOOD, probes=(Probe("drained", None, 60),))),
        ("I6", replace(GOOD, probes=(Probe("drained", 61.0, 60),))),
        ("I6", replace(GOOD, probes=(Probe("2xx p99 while it is down", 0.31, 0.3),))),
        ("I7", replace(GOOD, rings=(Ring("one", POLICE, 1),))),
        ("I9", replace(GOOD, replies=(*GOOD.replies, Reply("f9", 503, 0.1, by_hand=True)))),
        ("I9", replace(GOOD, replies=(Reply("f9", 0, 5.0, by_hand=True), Reply("f9", 201, 0.1, by_hand=True)))),
        ("I8", replace(GOOD, probes=(Probe("accounted", None, 0),))),
    ],
)
def test_a_planted_defect_is_called_by_its_invariant(invariant: str, bad: Seen) -> None:
    assert invariant in named(bad)


def test_a_human_told_in_time_is_as_good_as_the_desk_and_so_is_a_ring_about_the_whole_case() -> None:
    lenient = Bounds()
    assert named(replace(GOOD, cars=(car(POLICE),), rings=(Ring("one", AMBULANCE, 20.1),)), lenient) == set()
    assert named(replace(GOOD, cars=(), rings=(Ring("one", None, 10.1),)), lenient) == set()


def test_a_call_that_was_never_accepted_may_be_absent_or_whole() -> None:
    unheard = replace(GOOD, cries=(replace(ONE, accepted=None),))
    assert named(replace(unheard, cars=(), told=()), Bounds()) == set()
    assert named(unheard, Bounds()) == set()


def test_an_alarm_is_true_until_the_desk_has_accepted_and_false_from_then_on() -> None:
    rings = (Ring("one", POLICE, 0.1), Ring("one", POLICE, 30), Ring("one", AMBULANCE, 9))
    found = judge(replace(GOOD, rings=rings), Bounds()).figures
    assert (found.true_alarms, found.false_alarms) == (1, 1)
    waiting = replace(GOOD, cars=(car(POLICE, accepted=None), car(AMBULANCE)), rings=(Ring("one", POLICE, 20),))
    assert judge(waiting, Bounds()).figures.true_alarms == 1


def test_a_ring_is_earned_by_a_desk_that_had_it_only_after_it_was_to_ring() -> None:
    def after(delivered: float, ring: Ring) -> set[str]:
        seen = replace(GOOD, cars=(car(POLICE, at=delivered), car(AMBULANCE)), rings=(ring,))
        return named(seen, Bounds(earned=True))

    assert after(19.0, Ring("one", POLICE, 21.0, since=20.2)) == {"I7"}
    assert after(6.0, Ring("one", POLICE, 8.0, since=7.0)) == {"I7"}, "whatever it rang for"
    assert after(20.3, Ring("one", POLICE, 22.0, since=21.0)) == set(), "it was due by then"
    assert after(20.3, Ring("one", POLICE, 22.0)) == set(), "people outside are told no moment"


def test_lost_doubled_and_slowest_are_counted() -> None:
    two = Cry("two", BOTH, sent=0, accepted=0)
    seen = Seen(cries=(ONE, two), cars=(car(POLICE), car(POLICE, n=2), car(AMBULANCE, at=3.1)))
    found = judge(seen, Bounds()).figures
    assert (found.calls, found.accepted, found.lost, found.doubled) == (2, 2, 1, 1)
    assert found.slowest_delivery == pytest.approx(3.0)


def checked(folder: Path, *more: str) -> tuple[int, dict[str, object]]:
    command = [sys.executable, "-m", "tests.faults.checker", str(folder), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_the_program_reads_the_logs_on_disk_and_fails_on_a_lost_call(tmp_path: Path) -> None:
    case, desk = "018f0000-0000-7000-8000-000000000001", "140700-110"
    told = {"fault": "F0", "act": "escalate", "case": case, "key": "k", "desks": [desk]}
    (tmp_path / "seen").mkdir()
    (tmp_path / "desks" / desk).mkdir(parents=True)
    client = [
        {"at": 0.0, "what": "sent", **told},
        {"at": 0.1, "what": "answered", "status": 201, "took": 0.1, "said": "x", **told},
    ]
    (tmp_path / "seen" / "client.jsonl").write_text("".join(json.dumps(line) + "\n" for line in client))
    code, verdict = checked(tmp_path, "--fault", "F0")
    assert (code, verdict["broken"]) == (1, {"I1": 1})
    incident = {"at": "1970-01-01T00:00:01+00:00", "what": "incident", "key": f"{case}/{desk}/1", "drill": False}
    made = {**incident, "answer": {"status": "accepted"}}
    (tmp_path / "desks" / desk / "log.jsonl").write_text(json.dumps(made) + "\n")
    assert checked(tmp_path)[0] == 0
    (tmp_path / "desks" / desk / "log.jsonl").write_text((json.dumps(made) + "\n") * 2)
    assert checked(tmp_path, "--bounds", '{"delivery": 0.5}')[1]["broken"] == {"I2": 1, "delivery": 1}
