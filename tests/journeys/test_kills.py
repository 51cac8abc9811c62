"""Any service may die at any moment of a joint response: help comes once, and the incident still closes."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from deploy.local.system import DESKS, SERVICES
from tests.journeys.world import Incident, World


@pytest.mark.parametrize("service", SERVICES)
async def test_a_killed_service_loses_nothing_and_doubles_nothing(world: World, service: str) -> None:
    """One kill meets three people: one whose rescue is on its way, one just called out for, one just saved."""
    async with AsyncExitStack() as calls:
        on_the_way, called_out, saved = [await calls.enter_async_context(world.call()) for _ in range(3)]
        for incident in (called_out, saved):
            await incident.opens()
            await incident.is_at("演示路1号")
        await on_the_way.is_in_danger()
        await on_the_way.hears("CallOutEnRoute", desk=DESKS["desk_110"])
        await called_out.saves()
        await called_out.hears("CallOutOrdered")
        await saved.saves()
        world.running.kill(service)
        await asyncio.gather(*(ends_well(incident) for incident in (on_the_way, called_out, saved)))


async def ends_well(incident: Incident) -> None:
    await incident.both_desks_clear()
    await incident.closes()
    for desk in DESKS:
        await incident.one_car_from(desk)
    incident.said_once()
