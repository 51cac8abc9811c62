"""The watcher is watched, a stuck call-out stops its beat, and the minute drill goes all the way and shows nowhere."""

import asyncio
import json

from services.hotline_intake.auditor_watch import SILENT
from tests.journeys.world import World, eventually

NOTICED = 60.0


async def test_a_dead_auditor_is_noticed_and_people_are_told(world: World) -> None:
    clock = asyncio.get_running_loop().time
    await eventually(world.beats, 60)
    await asyncio.sleep(6)  # intake has heard a beat
    before = await world.said_outside(SILENT)
    async with world.down("auditor"):
        started = clock()
        while await world.said_outside(SILENT) == before:
            await asyncio.sleep(0.5)
            assert clock() - started < NOTICED
    await eventually(world.beats, 60)


async def test_a_call_out_that_no_adapter_takes_stops_the_beat_until_it_is_delivered(world: World) -> None:
    await eventually(world.beats, 60)
    async with world.call() as incident:
        async with world.down("responder_adapter"):
            await incident.is_in_danger()
            await incident.hears("CallOutOrdered")
            await eventually(lambda: finds(world, "untaken"), 30)
            assert not await world.beats()
        await incident.both_desks_clear()
        await eventually(world.beats, 60)
        await incident.closes()
        said, shown = await world.jingyi("audit", "--json")
        [line] = [line for line in json.loads(shown)["lines"] if line["case"] == str(incident.case)]
        assert (line["fate"], {desk["turn"] for desk in line["desks"]}) == ("closed", {"cleared"})
        assert (said, json.loads(shown)["unaccounted"]) == (0, 0)


async def test_the_minute_drill_goes_all_the_way_and_shows_nowhere(world: World) -> None:
    await eventually(world.beats, 60)
    [age] = (await world.watch())["drills"].values()
    assert age < 100
    assert "演练" not in (await world.jingyi("incidents"))[1]
    assert "140700-000" not in "".join([(await world.jingyi(shown))[1] for shown in ("alarms", "tasks", "incidents")])
    code, said = await world.jingyi("audit")
    assert (code, said.splitlines()[-1]) == (0, "未落实 unaccounted: 0")


async def finds(world: World, what: str) -> bool:
    return what in (await world.watch()).get("findings", {})
