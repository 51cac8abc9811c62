"""Two people with nothing but the command line: everything a supervisor may do by hand, against the whole system."""

import json
from typing import Any
from uuid import UUID

from uuid_utils import uuid7

from tests.journeys.world import World, eventually


async def done(world: World, *words: str) -> str:
    """The command, which must succeed."""
    code, said = await world.jingyi(*words)
    assert code == 0, f"jingyi {' '.join(words)}: {said}"
    return said


async def shown(world: World, *words: str) -> Any:
    return json.loads(await done(world, *words, "--json"))


async def opened(world: World) -> str:
    case = str(UUID(str(uuid7())))
    await done(world, "escalate", case, "--desk", "119")
    await eventually(lambda: listed(world, case), 15)
    return case


async def listed(world: World, case: str) -> bool:
    """Whether the fire desk, reached by telephone, waits for somebody to call it."""
    return any(task["case"] == case and task["desk"] == "140700-119" for task in await shown(world, "tasks"))


async def stands(world: World, case: str, desk: str, rung: str) -> bool:
    """Whether the desk's leg has come to this rung."""
    legs = (await shown(world, "incident", case))["legs"]
    return any(leg["desk"] == f"140700-{desk}" and leg["rung"] == rung for leg in legs)


async def test_a_desk_without_a_system_is_called_reported_ordered_again_and_the_incident_closed(world: World) -> None:
    case = await opened(world)
    assert "请拨打 phone  0354119" in await done(world, "tasks", "claim", case, "119")
    await done(world, "tasks", "report", case, "119", "accepted", "--officer", "9", "--event-no", "119-1")
    code, said = await world.jingyi("order", case, "119")
    assert (code, "callout_still_open" in said) == (1, True)
    await done(world, "tasks", "report", case, "119", "cleared", "--code", "assisted")
    await eventually(lambda: stands(world, case, "119", "cleared"), 10)
    await done(world, "order", case, "119", "--reason", "place_corrected")
    await eventually(lambda: listed(world, case), 10)
    await done(world, "tasks", "report", case, "119", "accepted", "2", "--officer", "9", "--event-no", "119-2")
    await done(world, "tasks", "report", case, "119", "cleared", "2", "--code", "assisted")
    await done(world, "contact", case)
    await done(world, "end", case)
    await done(world, "follow-up", case)
    await eventually(lambda: stands(world, case, "110", "cleared"), 30)
    await eventually(lambda: closed(world, case), 15)


async def closed(world: World, case: str) -> bool:
    code, _ = await world.jingyi("close", case, "--outcome", "safe_at_home")
    return code == 0 and (await shown(world, "incident", case))["status"] == "closed"


async def test_a_silent_desk_is_phoned_given_back_phoned_again_and_everybody_stood_down(world: World) -> None:
    await world.desks_behave(answer="silent")
    case = await opened(world)
    await done(world, "tasks", "report", case, "119", "accepted", "--officer", "9", "--event-no", "119-1")
    await eventually(lambda: rings(world, case), 30)
    await done(world, "alarms", "claim", case, "110")
    await done(world, "alarms", "release", case, "110")
    await eventually(lambda: rings(world, case), 10)
    await done(world, "alarms", "claim", case, "110")
    await done(world, "alarms", "settle", case, "110", "--officer", "041207", "--event-no", "110-9")
    await eventually(lambda: stands(world, case, "110", "accepted"), 10)
    await done(world, "absence", case, "--reason", "caller_safe_by_phone")
    await done(world, "stand-down", case, "--reason", "false_alarm")
    await eventually(lambda: stands(world, case, "110", "cancelled"), 20)
    await done(world, "tasks", "report", case, "119", "cancelled")
    await done(world, "end", case)
    await done(world, "follow-up", case)
    await eventually(lambda: closed(world, case), 20)


async def rings(world: World, case: str) -> bool:
    ringing = [a for a in await shown(world, "alarms") if a["case"] == case and a["phase"] == "ringing"]
    return [alarm["desk"] for alarm in ringing] == ["140700-110"]
