"""With all of Kafka down the desks are reached; where that fails too a human is rung, and no second car is sent."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import structlog

from deploy.local.system import DESKS
from tests.journeys.world import Incident, World

ASSESS_BY = 10.0
HEDGED_BY = 5.0
LOADED = 3.0
"""Seconds a machine that does much else may take longer."""

Fault = Callable[[World], AbstractAsyncContextManager[None]]

log = structlog.get_logger()


async def test_the_ledger_rings_without_kafka_and_assessment_and_what_was_phoned_is_not_sent_again(
    world: World,
) -> None:
    clock = asyncio.get_running_loop().time
    async with world.call() as incident:
        async with world.kafka_down(), world.frozen("risk_assessment"):
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


@pytest.mark.parametrize("fault", [World.kafka_down, partial(World.frozen, service="kafka")], ids=["down", "frozen"])
async def test_desks_are_reached_without_kafka_in_seconds_and_each_sends_one_car(world: World, fault: Fault) -> None:
    clock = asyncio.get_running_loop().time
    async with world.call() as incident:
        async with fault(world):
            await incident.opens()
            await incident.is_at("演示路1号")
            saved = clock()
            await incident.saves()
            reached = [await _reached(incident, desk, saved) for desk in DESKS]
            log.info("reached_without_kafka", seconds=[round(seconds, 2) for seconds in reached])
            assert max(reached) < HEDGED_BY + LOADED
            assert await world.alarms(incident.case) == []
        await incident.both_desks_clear()
        await incident.closes(within=30)
        incident.said_once()
        for desk in DESKS:
            await incident.one_car_from(desk)
        assert await world.waiting_rows() == {}


async def _reached(incident: Incident, desk: str, saved: float) -> float:
    """Seconds from the saved answers to the desk's own record of the order."""
    while not await incident.callouts_of(desk):
        await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - saved < 20, f"{desk} was not reached"
    return asyncio.get_running_loop().time() - saved
