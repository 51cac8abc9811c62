"""110 does not answer: the seats ring, then a person outside, then the next, until somebody phones and settles it."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from deploy.local.system import DESKS
from shared.contract.calls import AlarmSounded
from tests.journeys.world import POLICE, PROMPT, Incident, World, eventually, world

HASTY = {"ring_at": 4, "outside_at": 5, "ring_again": 4, "next_person": 6, "claim": 8}
"""Seconds; the order of a city's own clocks, some minutes shorter."""

FIRST, NEXT = "140700-1", "140700-2"


async def test_nobody_hears_the_alarm_until_somebody_phones_lapses_and_phones_again(tmp_path: Path) -> None:
    async with world(tmp_path, **HASTY) as night:
        await night.desks_behave()
        await night.client.desk(POLICE, "/behaviour", {**PROMPT, "answer": "error"})
        async with night.call() as incident:
            await incident.is_in_danger()
            await incident.hears("AlarmRaised", desks=(DESKS[POLICE],))
            assert [alarm["phase"] for alarm in await night.alarms(incident.case)] == ["ringing"]
            await incident.hears("AlarmPassedOn", ring=1)
            assert {to for to, _ in await night.told_outside(incident.case)} == {FIRST}
            await eventually(lambda: rung(incident, NEXT), 30)
            _, shown = await night.jingyi("alarms", "--json")
            assert json.loads(shown)[0]["rings"][-2:] == ["值班督导", "热线负责人"]
            await is_claimed_and_lapses(night, incident)
            await incident.phones("claims")
            await incident.phones("settlements", officer="041207", event_no="110-9")
            await incident.hears("CallOutAccepted", desk=DESKS[POLICE], event_no="110-9")
            assert await night.alarms(incident.case) == []
            await eventually(lambda: rung(incident, FIRST, "已接警"), 15)
            assert [order["incidents"] for order in (await incident.callouts_of(POLICE)).values()] in ([0], [])


async def is_claimed_and_lapses(night: World, incident: Incident) -> None:
    """Somebody says "I phone" and is not heard of again: machine and people start again, at once and by one key."""
    await incident.phones("claims")
    await incident.hears("CallOutHeld", desk=DESKS[POLICE])
    before = len(rings(incident))
    released = await incident.hears("AlarmReleased", because="claim_lapsed")
    await incident.hears("CallOutReleased", desk=DESKS[POLICE])
    await eventually(lambda: rung_more_than(incident, before), 15)
    assert timedelta() <= rings(incident)[before].at - released.at < timedelta(seconds=1)
    await eventually(lambda: posted_after(night, incident, released.at), 15)


def rings(incident: Incident) -> list[AlarmSounded]:
    return [event for event in incident.story.events if isinstance(event, AlarmSounded)]


async def rung_more_than(incident: Incident, count: int) -> bool:
    return len(rings(incident)) > count


async def rung(incident: Incident, person: str, words: str = "请立即拨打") -> bool:
    return any(to == person and words in said for to, said in await incident.world.told_outside(incident.case))


async def posted_after(night: World, incident: Incident, moment: datetime) -> bool:
    """Whether the order came to the desk again since then; always under its one key."""
    log = await night.client.desk(POLICE, "/log")
    posts = [line for line in log["lines"] if line["what"] == "posted" and str(incident.case) in line["key"]]
    assert {line["key"] for line in posts} == {f"{incident.case}/{DESKS[POLICE]}/1"}
    return any(datetime.fromisoformat(line["at"]) > moment for line in posts)
