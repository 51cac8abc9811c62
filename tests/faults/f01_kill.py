"""F1: kill -9 of each service at each step: between effect and commit, relay send and delete, accept and reply.

The doors are met while Kafka is down: two faults at once.
"""

import asyncio
from collections.abc import Mapping
from itertools import pairwise

from tests.faults.fault import Fault, Scene
from tests.faults.invariants import Bounds
from tests.faults.shapes import ONE_BROKER

STEPS = {
    "hotline_intake": (
        *("journal.before", "journal.after", "commit.before", "commit.after"),
        *("relay.before", "relay.sent", "delete.before", "delete.after"),
    ),
    "risk_assessment": ("commit.before", "commit.after", "relay.sent", "offsets.before"),
    "dispatch": ("commit.before", "commit.after", "delete.before", "offsets.after"),
    "responder_adapter": ("commit.before", "commit.after", "post.before", "post.after"),
}
"""Relay and offsets are the kernel's, the same code in every service; each of their steps is met in one of them."""

AT_DOORS = {
    "hotline_intake": ("door.before", "door.after"),
    "risk_assessment": ("learn.before", "door.after"),
    "dispatch": ("learn.after", "door.before"),
    "responder_adapter": ("learn.before", "learn.after"),
}
"""Steps that are met whether Kafka is there or not."""

APART = 2.0
"""Seconds between a process that is up again and the next kill: else it were several faults at once."""

DOUBTED = 3.0
"""Seconds until everybody doubts Kafka, and tells at doors at once."""

LATEST = 12
"""A bomb goes off at the first to twelfth time that its step comes."""


async def each_step(scene: Scene, steps: Mapping[str, tuple[str, ...]]) -> None:
    """One kill after the other, each service at each of its steps, and none twice in a row: its second life is to have
    the time that an attempt of its first one has to end."""
    bombs = [(service, step) for service, its in steps.items() for step in its]
    while any(one == another for (one, _), (another, _) in pairwise(bombs)):
        scene.chance.shuffle(bombs)
    missed = [f"{service} {step}" for service, step in bombs if not await dies(scene, service, step)]
    scene.note(
        f"{len(bombs) - len(missed)} kills at {len(bombs)} steps" + (f"; not reached: {missed}" if missed else "")
    )


async def at_doors(scene: Scene) -> None:
    """While all of Kafka is down, and calls go from door to door."""
    scene.stage.gates.shut("kafka")
    scene.stage.running.kill("kafka")
    await asyncio.sleep(DOUBTED)
    await each_step(scene, AT_DOORS)
    scene.stage.gates.open("kafka")
    await scene.up("kafka")


async def dies(scene: Scene, service: str, step: str) -> bool:
    """Whether it ended at that step; it is up again when this returns."""
    nth = scene.chance.randint(1, LATEST)
    scene.stage.plant(service, step, nth)
    ended = await scene.ended(service)
    await scene.up(service)
    await asyncio.sleep(APART)
    return ended


FAULTS = (
    Fault(
        "F1a",
        "kill -9 of each service at each step",
        ONE_BROKER,
        lambda scene: each_step(scene, STEPS),
        Bounds(delivery=5.0),
        rate=12,
    ),
    Fault("F1b", "kill -9 of each service at its doors while Kafka is down", ONE_BROKER, at_doors, Bounds(), rate=12),
)
