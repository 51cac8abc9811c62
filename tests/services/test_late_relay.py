"""What waits in a relay: a late loop is no silence of Kafka's, and one case holds up no other. Time is virtual."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import pytest

from shared.kernel.clock import BEAT, RunningTime
from shared.kernel.log.fallback.delivery import LATE
from shared.kernel.log.leases import OutboxLeases
from shared.kernel.log.relay import Relay
from shared.kernel.machine.shards import generation_name
from shared.kernel.machine.store import Commit, OutboxRow, Store
from tests.simulation import bus, store
from tests.simulation.loop import VirtualLoop

TAG, TOPIC = "{s01}", "said"


@dataclass
class Line:
    """A relay at work between a store and a Kafka that are both well."""

    relay: Relay
    store: Store
    kafka: bus.Kafka
    loop: VirtualLoop

    async def commits(self, case: str) -> None:
        row = OutboxRow(TOPIC, case, {"ce_type": "cn.jingyi.Said"}, b"{}")
        names = (
            f"{TAG}:x:m:1:{case}",
            f"{TAG}:x:outbox",
            f"{TAG}:x:due",
            f"{TAG}:x:listed",
            f"{TAG}:key:a",
            generation_name(TAG),
        )
        about = (0, "cause", "", b"{}", 0, case, f"m|1|1|{case}", "", "", b"", "")
        parts = (row.topic, row.key, '{"ce_type": "cn.jingyi.Said"}', row.value)
        await self.store.commit(Commit(TAG, names, (*about, *parts), (row,)))

    def took(self) -> list[str]:
        """The cases of which Kafka has heard."""
        return [(record.key or b"").decode() for record in self.kafka.records(TOPIC)]


def play(story: Callable[[Line], Awaitable[None]]) -> None:
    """The story of one whose producer is connected and whose lease is held."""
    loop = VirtualLoop()

    async def played() -> None:
        server = store.Server(
            store.Valkey(lambda: datetime(2026, 3, 1, tzinfo=UTC).timestamp() + loop.time()),
            store.Way(Random(1)),
            loop,
            lambda *_: None,
        )
        kafka = bus.Kafka(loop, bus.Way(Random(1)), lambda _: None)
        relay = Relay(kafka.bus(""), OutboxLeases("x", "x-1", [TAG]))
        kept = server.store("", relay.take_rows)
        work = [asyncio.create_task(kept.run()), asyncio.create_task(relay.run(kept))]
        await kept.load()
        await kept.ask("SET", generation_name(TAG), 0)
        relay.gate.set()
        await asyncio.sleep(5)
        await story(Line(relay, kept, kafka, loop))
        for task in work:
            task.cancel()
        await asyncio.wait(work)

    try:
        loop.run_until_complete(played())
    finally:
        loop.close()


def test_l4_a_loop_that_was_late_for_five_seconds_doubts_no_kafka() -> None:
    """Else a load that a service cannot carry goes by every door as well."""

    async def story(line: Line) -> None:
        await line.commits("a")
        await asyncio.sleep(0.0001)
        line.loop.stand_still(5)
        assert 0 < line.relay.unanswered_for() < LATE
        await asyncio.sleep(BEAT)
        assert line.relay.unanswered_for() < LATE
        assert line.took() == ["a"]

    play(story)


def test_l4_a_record_to_which_kafka_owes_the_answer_for_two_seconds_is_a_doubt() -> None:
    """Else a silent Kafka is waited for, and the order with it."""

    async def story(line: Line) -> None:
        line.kafka.way.away = True
        await line.commits("a")
        await asyncio.sleep(LATE - 2 * BEAT)
        assert 0 < line.relay.unanswered_for() < LATE
        await asyncio.sleep(2 * BEAT)
        assert line.relay.unanswered_for() >= LATE - BEAT

    play(story)


def test_l4_running_time_goes_on_while_the_loop_does_and_by_two_beats_while_it_is_late() -> None:
    loop = VirtualLoop()

    async def played() -> None:
        running = RunningTime()
        beating = asyncio.create_task(running.run())
        await asyncio.sleep(3)
        assert running.now() == pytest.approx(3)
        loop.stand_still(5)
        assert 3 <= running.now() <= 3 + 2 * BEAT
        await asyncio.sleep(2)
        assert 5 <= running.now() <= 5 + 2 * BEAT
        beating.cancel()

    try:
        loop.run_until_complete(played())
    finally:
        loop.close()


def test_l6_a_case_that_waits_for_its_urgent_row_holds_up_no_other() -> None:
    """Else each order of every case waits two seconds for whatever peer of one case is away."""

    async def story(line: Line) -> None:
        urgent_sent = asyncio.Event()

        async def first() -> None:
            await urgent_sent.wait()

        line.relay.before_send = lambda row: first() if row.key == "a" and not urgent_sent.is_set() else None
        for case in ("a", "b", "c"):
            await line.commits(case)
        await asyncio.sleep(0.5)
        assert sorted(line.took()) == ["b", "c"]
        urgent_sent.set()
        await asyncio.sleep(0.5)
        assert sorted(line.took()) == ["a", "b", "c"]

    play(story)
