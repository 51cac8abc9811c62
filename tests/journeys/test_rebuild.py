"""Redis loses its disk in the middle of rescues: rebuilt from Kafka it is the same, and nobody is sent twice."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from deploy.local.system import DESKS
from tests.journeys.world import POLICE, Incident, World, eventually, world


@pytest_asyncio.fixture
async def own(tmp_path: Path) -> AsyncIterator[World]:
    """A system of its own: nobody else's store is emptied."""
    async with world(tmp_path) as made:
        await made.desks_behave()
        yield made


async def test_rescues_go_on_over_a_lost_disk_as_if_nothing_had_been(own: World) -> None:
    async with AsyncExitStack() as calls:
        closed, on_the_way = [await calls.enter_async_context(own.call()) for _ in range(2)]
        await plays_to_the_end(closed)
        await own.desks_behave(answer="silent")
        await on_the_way.is_in_danger()
        for desk in DESKS.values():
            await on_the_way.hears("CallOutDelivered", desk=desk)
        before = await settled(own)
        logs = await posted(own)
        await emptied(own)
        code, said = await own.jingyi("rebuild", "--json")
        assert code == 0, said
        after = told(said)
        same = {part for part, found in after.items() if found == before[part]}
        assert same == {part for part, (records, _) in after.items() if records == before[part][0]}
        assert same >= {"risk_assessment", "responder_adapter"}
        assert await posted(own) == logs
        await own.desks_behave()
        for name, desk in DESKS.items():
            await own.client.desk(name, "/answer", {"key": f"{on_the_way.case}/{desk}/1", "answer": "accept"})
        await on_the_way.both_desks_clear()
        await on_the_way.closes()
        on_the_way.said_once()
        assert await posted(own) == logs


async def test_an_order_that_was_leaving_is_asked_after_by_its_key_and_not_sent_again(own: World) -> None:
    await own.client.desk(POLICE, "/behaviour", {"slow": 3.5, "answer": "silent"})  # it says nothing unasked
    async with own.call() as leaving:
        await leaving.is_in_danger()
        await leaving.hears("CallOutTaken", desk=DESKS[POLICE])
        await eventually(lambda: has_it(own, POLICE), 10)
        own.running.kill("responder_adapter")
        await emptied(own)
        await own.client.desk(POLICE, "/behaviour", {"slow": 0, "answer": "silent"})
        code, said = await own.jingyi("rebuild", "--json")
        assert code == 0, said
        assert json.loads(said)["responder_adapter"]["recovered"] >= 1
        await leaving.hears("CallOutInquired", desk=DESKS[POLICE])
        key = f"{leaving.case}/{DESKS[POLICE]}/1"
        await own.desks_behave()
        await own.client.desk(POLICE, "/answer", {"key": key, "answer": "accept"})
        await leaving.both_desks_clear()
        for desk in DESKS:
            await leaving.one_car_from(desk)
        assert (await posted(own))[key] == 1


async def has_it(own: World, desk: str) -> bool:
    return bool((await own.client.desk(desk, "/log?lines=false"))["callouts"])


async def plays_to_the_end(incident: Incident) -> None:
    await incident.is_in_danger()
    await incident.both_desks_clear()
    await incident.closes()


def told(said: str) -> dict[str, tuple[int, str]]:
    """Of each service: how many records the log has, and the hash of what they tell."""
    reports = json.loads(said).items()
    return {part: (report["records"], report["hash"]) for part, report in reports if report.get("hash")}


async def settled(own: World) -> dict[str, tuple[int, str]]:
    """What the log tells, once Redis holds exactly that."""
    found: dict[str, tuple[int, str]] = {}

    async def same() -> bool:
        code, said = await own.jingyi("rebuild", "--check", "--json")
        found.update(told(said))
        return code == 0

    await eventually(same, 60)
    return found


async def emptied(own: World) -> None:
    async with Redis.from_url(own.running.redis_url) as redis:
        await redis.flushall()


async def posted(own: World) -> dict[str, int]:
    """How often each desk was sent each order, by its own book."""
    found: dict[str, int] = {}
    for desk in DESKS:
        log: dict[str, Any] = await own.client.desk(desk, "/log?lines=false")
        found |= {key: told["attempts"] for key, told in log["callouts"].items()}
    return found
