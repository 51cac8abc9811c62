"""The words of the demo, and the plays it can play, without a system."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import typer

from deploy.cli import scenario
from deploy.cli.calls import ticked
from deploy.cli.timeline import Said, Story, Wanted
from deploy.cli.watch import line
from deploy.cli.wording import CODES, FIELD, KINDS, WORDS, filled, said
from deploy.local.trouble import Trouble
from shared.contract import callouts, calls, incidents, risk
from shared.contract.event import Event
from shared.contract.instruments import ACUTE, CSSRS, INSTRUMENTS, check_answers
from shared.contract.terms import Situation, Tier

CASE = UUID("0197a000-0000-7000-8000-000000000001")
HEADING = {"case": CASE, "city": "140700", "at": datetime(2026, 1, 1, tzinfo=UTC)}
SPOKEN = "0354-000001-1"


def leaves(kind: type[Event]) -> set[type[Event]]:
    below = {sub for sub in kind.__subclasses__() if sub.__module__.startswith("shared.contract")}
    return set().union(*map(leaves, below)) if below else {kind}


def test_every_event_that_can_be_said_has_words_in_both_languages() -> None:
    assert set(WORDS) == leaves(Event)
    assert [kind.__name__ for kind, words in WORDS.items() if not (words.zh and words.en)] == []
    assert len(KINDS) == len(WORDS)


@pytest.mark.parametrize("kind", WORDS, ids=lambda kind: kind.__name__)
def test_words_speak_only_of_fields_that_the_event_has(kind: type[Event]) -> None:
    named = {*FIELD.findall(WORDS[kind].zh), *FIELD.findall(WORDS[kind].en)}
    assert named <= {*kind.model_fields, "spoken"}


def test_a_bracketed_part_is_left_out_where_something_in_it_is_unknown() -> None:
    assert filled("{desk}[, officer {officer}]", {"desk": "110", "officer": ""}) == "110"
    assert filled("{desk}[, officer {officer}]", {"desk": "110", "officer": "7"}) == "110, officer 7"


def test_a_tier_is_told_with_its_reasons_in_words() -> None:
    event = risk.RiskAssessed(
        **HEADING,
        screening=CASE,
        tier=Tier.IMMINENT,
        reasons=("acute-criteria/1:in_progress",),
        dispatch_now=True,
        situation=Situation(),
    )
    assert said(event, SPOKEN).en == "risk IMMINENT: the act is in progress; people on site now"
    assert "正在实施" in said(event, SPOKEN).zh


def test_a_desk_of_another_city_is_not_mistaken_for_ours() -> None:
    here = callouts.CallOutEnRoute(**HEADING, desk="140700-110", n=1)
    assert said(here, SPOKEN).en == "110 en route"
    assert said(here.model_copy(update={"desk": "140100-110"}), SPOKEN).en == "110@140100 en route"


def test_a_refused_follow_up_is_told() -> None:
    planned = (calls.FollowUp(due=date(2026, 1, 2)), calls.FollowUp(due=date(2026, 1, 8), agreed=False))
    assert said(calls.FollowUpPlanned(**HEADING, follow_ups=planned, by="seat-1"), SPOKEN).en.endswith("1 refused")


def test_every_rule_of_the_scale_is_written_out() -> None:
    asked = {f"{tool.name}:{item}" for tool in INSTRUMENTS.values() for item in tool.items}
    assert asked <= CODES.keys()


@pytest.mark.parametrize("name", scenario.names())
def test_every_scenario_file_holds_and_ends_in_a_closing(name: str) -> None:
    play = scenario.read(name)
    kinds = {kind.__name__ for kind in WORDS}
    assert {step.after.event for step in play.timeline if step.after} <= kinds
    assert play.timeline[-1].act == "close"
    for step in play.timeline:
        if step.act == "screen":
            check_answers(step.body["answers"])


def test_an_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(Trouble, match="joint-response"):
        scenario.read("no-such-play")


def test_ticked_answers_follow_the_skip_logic() -> None:
    assert ticked(CSSRS, "1,2,4") == {"1": True, "2": True, "3": False, "4": True, "5": False, "6_lifetime": False}
    assert ticked(CSSRS, "none") == {"1": False, "2": False, "6_lifetime": False}
    assert ticked(ACUTE, "in_progress")["in_progress"]
    with pytest.raises(typer.BadParameter, match="only after yes to 2"):
        ticked(CSSRS, "1,4")
    with pytest.raises(typer.BadParameter, match="no item 9"):
        ticked(CSSRS, "9")


async def test_times_count_from_the_first_ring_and_from_the_save() -> None:
    story = Story(CASE)
    rang = calls.CallReceived(**HEADING, counsellor="seat-1")
    later = {**HEADING, "at": datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)}
    saved = calls.EscalationRequested(**later, by="seat-1", situation=Situation())
    for number, event in enumerate((rang, saved, saved)):
        await story.add(Said(event, str(min(number, 1))))
    assert len(story.said) == 2
    assert line(story, story.said[1], SPOKEN).plain.split()[:2] == ["+2.000", "+0.000"]
    assert await story.tells(Wanted("EscalationRequested", {"by": "seat-1"}), within=0.1)
    assert not await story.tells(Wanted("EscalationRequested", {"by": "seat-2"}), within=0.1)


def test_a_closed_incident_that_opens_again_is_not_closed() -> None:
    opened = incidents.IncidentOpened(**HEADING, reasons=(), situation=Situation(), desks=())
    closing = incidents.IncidentClosed(**HEADING, outcome="hospital", by="supervisor-1")
    assert Story(CASE, [Said(opened, "1"), Said(closing, "2")]).closed
    assert not Story(CASE, [Said(opened, "1"), Said(closing, "2"), Said(opened, "3")]).closed
