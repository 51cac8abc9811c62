"""A short selection of the fault suite, for every change: each kind of blow once, judged by the same checker."""

from pathlib import Path

from tests.faults import f01_kill, f03_valkey, f15_refusals, f16_unreadable, f17_deadlines, f18_connections, f19_host
from tests.faults.crashing import STEPS
from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.play import play
from tests.faults.programs import POLICE, BadDesk, Shape
from tests.faults.proxy import Wire

SEED = 20_260_301
BAD = (BadDesk("901", "refused", wire=Wire.REFUSED), BadDesk("906", "cut before the reply", wire=Wire.CUT_BEFORE_REPLY))
KILLS = {
    "hotline_intake": ("commit.after",),
    "risk_assessment": ("commit.before",),
    "dispatch": ("offsets.before",),
    "responder_adapter": ("post.after",),
}


async def blows(scene: Scene) -> None:
    """Each service killed at a step, Valkey twice, the broker once; 110's word lost on its way for a while."""
    await f01_kill.each_step(scene, KILLS)
    await f03_valkey.killed(scene, 2)
    scene.stage.running.kill("kafka")
    await scene.ended("kafka")
    await scene.up("kafka")
    await scene.stage.spoil(Wire.CUT_BEFORE_REPLY, 2, POLICE)
    for bad in BAD:
        await scene.stage.heal(bad)


REFUSED, SILENT, BUSY = 4.0, 6.0, 20.0
"""Seconds of each: a refusing store, silent connections, busy processes."""


async def refusals(scene: Scene) -> None:
    """The store refuses in each of its ways; records that nobody reads, a deadline that fails, silent connections."""
    for refusal in f15_refusals.REFUSALS:
        await f15_refusals.refusing(refusal, REFUSED)(scene)
    await f16_unreadable.unreadable(scene)
    await f17_deadlines.poisoned(scene)
    await f18_connections.silent(scene, SILENT)


async def test_nothing_is_lost_nothing_doubled_and_nobody_left_in_silence(tmp_path: Path) -> None:
    bounds = Bounds(exempt=frozenset(bad.desk for bad in BAD))
    also = tuple(bad.kind for bad in BAD)
    fault = Fault(
        "blows", "one after the other", Shape("selection", bad=BAD, compared=False), blows, bounds, rate=8, also=also
    )
    outcomes = await play(tmp_path, [fault], SEED, lambda words: None)
    assert {one.name: (one.broken, one.findings[:3]) for one in outcomes if not one.held} == {}
    assert outcomes[0].figures["accepted"] == outcomes[0].figures["calls"] > 100
    assert outcomes[0].figures["true_alarms"] > 0


async def test_a_store_that_refuses_words_nobody_reads_and_a_busy_host_lose_nothing(tmp_path: Path) -> None:
    shape = Shape("refusals", compared=False, descriptors=1024)
    faults = [
        Fault("refusals", "one after the other", shape, refusals, Bounds(first_try=True), rate=8),
        Fault("busy", "a busy host", shape, f19_host.oversubscribed(BUSY), f19_host.BOUNDS, rate=f19_host.RATE),
    ]
    outcomes = await play(tmp_path, faults, SEED, lambda words: None)
    assert {one.name: (one.broken, one.findings[:3]) for one in outcomes if not one.held} == {}
    assert all(one.figures["accepted"] == one.figures["calls"] > 100 for one in outcomes)


def test_every_crash_point_is_still_a_step_of_the_product() -> None:
    assert [name for name, step in STEPS.items() if not callable(getattr(step.owner, step.method, None))] == []
