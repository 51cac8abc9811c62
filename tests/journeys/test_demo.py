"""Every play ends in a closed incident, through the same code as `jingyi demo`; one that does not says why."""

import pytest

from deploy.cli import demo, scenario
from deploy.cli.client import DISPATCH, incident_path
from deploy.cli.scenario import Scenario
from deploy.local.trouble import Trouble
from tests.journeys.world import CITY, World


@pytest.mark.parametrize("name", scenario.names())
async def test_every_scenario_plays_to_a_closed_incident(world: World, name: str) -> None:
    case = await demo.play(world.where, scenario.read(name), demo.FAST)
    incident = await world.client.get(DISPATCH, incident_path(CITY, case))
    assert (incident["status"], incident["missing"]) == ("closed", [])


async def test_the_command_tells_the_story_in_both_languages_and_shows_where_to_look(world: World) -> None:
    code, said = await world.jingyi("demo", "--fast")
    assert code == 0, said
    for words in (
        "来电接通",
        "call taken by seat-1",
        "口述编号",
        "110 已签收",
        "120 accepted, no. 120-",
        "联动事件结案",
    ):
        assert words in said
    assert "the act is in progress" in said
    assert "jingyi trace " in said
    assert world.where.token not in said


async def test_a_play_that_cannot_go_on_fails_with_one_sentence(world: World) -> None:
    play = scenario.read("joint-response").model_dump(mode="json")
    first, last = play["timeline"][0], {**play["timeline"][-1], "after": None}
    with pytest.raises(Trouble, match="supervisor-1 could not close: There is no incident"):
        await demo.play(world.where, Scenario.model_validate({**play, "timeline": [first, last]}))


async def test_desks_get_their_own_habits_back_after_a_play(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CLOSED_WITHIN", 0.3)
    before = await world.client.desk("desk_110", "/behaviour")
    with pytest.raises(Trouble, match="No IncidentClosed came"):
        await demo.play(world.where, scenario.read("joint-response").model_copy(update={"timeline": ()}))
    assert await world.client.desk("desk_110", "/behaviour") == before
