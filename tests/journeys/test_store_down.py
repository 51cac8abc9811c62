"""With the store killed a cry for help is taken, people are rung outside, and who phoned is not followed by a car."""

import asyncio

import structlog

from deploy.local.system import DESKS
from tests.journeys.world import POLICE, World

LOADED = 3.0
"""Seconds a machine that does much else may take longer."""

log = structlog.get_logger()


async def test_a_person_outside_is_rung_phones_and_settles_and_no_car_is_sent_by_the_machine(world: World) -> None:
    clock = asyncio.get_running_loop().time
    async with world.call() as incident:
        async with world.down("valkey"):
            pressed = clock()
            kept = await incident.writes("escalations")
            answered = clock() - pressed
            assert (kept["saved"], kept["phone_now"][0]["desk"]) == ("journal", DESKS[POLICE])
            while not await world.told_outside(incident.case):
                await asyncio.sleep(0.1)
                assert clock() - pressed < 10 + LOADED
            log.info("store_down", answered_s=round(answered, 3), rung_outside_s=round(clock() - pressed, 1))
            assert answered < 1
            [ring] = await world.alarms(incident.case)
            assert (ring["phase"], ring["from_memory"]) == ("ringing", True)
            assert (await incident.phones("claims"))["saved"] == "journal"
        await incident.hears("AlarmClaimed", within=40, desk=DESKS[POLICE])
        await incident.hears("CallOutTaken", within=40, desk=DESKS[POLICE])
        await asyncio.sleep(2)
        assert await incident.callouts_of(POLICE) == {}, incident.said
        await incident.phones("settlements", officer="041207", event_no="110-电话-2")
        accepted = await incident.hears("CallOutAccepted", within=20, desk=DESKS[POLICE])
        assert getattr(accepted, "event_no", None) == "110-电话-2"
        assert await incident.callouts_of(POLICE) == {}, incident.said


async def test_what_was_answered_for_outlives_intake_itself_and_sends_one_car(world: World) -> None:
    async with world.call() as incident:
        async with world.down("valkey"):
            assert (await incident.writes("escalations"))["saved"] == "journal"
            world.running.kill("hotline_intake")
            await world.running.until_ready("hotline_intake")
            [ring] = await world.alarms(incident.case)
            assert (ring["desk"], ring["from_memory"]) == (DESKS[POLICE], True)
        await incident.hears("CallOutAccepted", within=40, desk=DESKS[POLICE])
        await incident.one_car_from(POLICE)
        assert incident.said.count("EscalationRequested") == 1
