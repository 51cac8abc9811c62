"""With all of Kafka down a person in danger is still heard: a human is rung, phones, and no second car is sent."""

import asyncio
import json

from deploy.local.system import DESKS
from tests.journeys.world import World

ASSESS_BY = 10.0


async def test_the_ledger_rings_without_kafka_and_what_was_phoned_is_not_sent_again(world: World) -> None:
    clock = asyncio.get_running_loop().time
    async with world.call() as incident:
        async with world.kafka_down():
            started = clock()
            await incident.is_in_danger()
            assert clock() - started < 1
            while not await world.alarms(incident.case):
                await asyncio.sleep(0.1)
                assert clock() - started < ASSESS_BY + 2
            assert clock() - started > ASSESS_BY - 1
            code, shown = await world.jingyi("alarms", "--json")
            [ring] = [ring for ring in json.loads(shown) if ring["case"] == str(incident.case)]
            assert (code, ring["desk"], ring["phase"]) == (0, DESKS["desk_110"], "ringing")
            await incident.phones("claims")
            await incident.phones("settlements", officer="041207", event_no="110-电话-1")
            assert await world.alarms(incident.case) == []
        accepted = await incident.hears("CallOutAccepted", within=30, desk=DESKS["desk_110"])
        assert getattr(accepted, "event_no", None) == "110-电话-1"
        await incident.hears("LegChanged", within=30, desk=DESKS["desk_120"], rung="cleared")
        for rung, code_said in (("contact", None), ("cleared", "assisted")):
            await incident.told_by_phone(rung, **({"code": code_said} if code_said else {}))
        await incident.closes()
        assert await incident.callouts_of("desk_110") == {}, incident.said
        await incident.one_car_from("desk_120")
