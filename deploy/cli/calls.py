"""A call by hand: `jingyi call open`, `place`, `brief`, `jingyi screen`, `escalate`, `end`, `follow-up`, `assess`."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table
from uuid_utils import uuid7

from deploy.cli.asked import JINZHONG, SEAT, Actor, AsJson, CaseId, City, State
from deploy.cli.client import (
    INTAKE,
    RISK,
    acted,
    call_path,
    connected,
    console,
    done,
    fetched,
    headed,
    printed,
    whereabouts,
)
from deploy.cli.wording import TIERS
from shared.contract.instruments import ACUTE, CSSRS, Instrument
from shared.contract.terms import Brief, Confidence

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="A call: open it, write down the place and the brief."
)


def register(root: typer.Typer) -> None:
    """Make these commands part of `jingyi`."""
    root.add_typer(app, name="call")
    root.command("screen")(screen)
    root.command("escalate")(escalate)
    root.command("assess")(assess)
    root.command("end")(end)
    root.command("follow-up")(follow_up)


@app.command("open")
def open_call(
    city: City = JINZHONG,
    drill: Annotated[bool, typer.Option("--drill", help="An exercise 演练.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the caller's number from standard input.")] = False,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Open a call; prints its case id and spoken number. The caller's number is never an argument."""
    case = UUID(str(uuid7()))
    number = sys.stdin.readline().strip() if stdin else None
    body = {"drill": drill, **({"caller": number} if number else {})}
    call = done(_put(state, actor, call_path(city, case), body))
    if as_json:
        return printed(call)
    console.print("来电已接通 call open · 口述编号 spoken number ", end="")
    console.print(call["spoken_number"], style="bold")
    typer.echo(str(case))
    console.print(f"  jingyi screen {case}\n  jingyi escalate {case}\n  jingyi watch {case}", style="dim")
    return None


@app.command()
def place(
    case: CaseId,
    confidence: Annotated[Confidence, typer.Option(help="How the place is known.")] = Confidence.READ_BACK,
    at_city: Annotated[str | None, typer.Option("--at", help="Division code of the city where the person is.")] = None,
    area_code: Annotated[str | None, typer.Option(help="Area code, for a city without a pack.")] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the address from standard input.")] = False,
    city: City = JINZHONG,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Write down where the person is. The address is asked for, or read with --stdin; it is never an argument."""
    known = confidence is not Confidence.UNKNOWN
    given = {"confidence": confidence, "city": (at_city or city) if known else None, "area_code": area_code}
    given["text"] = typed("地址 address", stdin) if known else None
    _record(state, actor, case, city, "places", given, as_json)


@app.command()
def brief(
    case: CaseId,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the brief as JSON from standard input.")] = False,
    city: City = JINZHONG,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Write down what desks need to know, field by field; an empty line skips a field."""
    told = parsed(sys.stdin.read()) if stdin else {name: typed(name, stdin=False) for name in Brief.model_fields}
    _record(state, actor, case, city, "briefs", told, as_json)


def screen(
    case: CaseId,
    cssrs: Annotated[str | None, typer.Option(help="Items answered yes: 1,2,4 or none; others are no.")] = None,
    acute: Annotated[str | None, typer.Option(help=f"Criteria that hold: {', '.join(ACUTE.items)}, or none.")] = None,
    city: City = JINZHONG,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Save a screening. On a terminal, without options, it asks the questions one by one."""
    given = [(tool, yes) for tool, yes in ((CSSRS, cssrs), (ACUTE, acute)) if yes is not None]
    if given:
        answers = {tool.name: ticked(tool, yes) for tool, yes in given}
    elif sys.stdin.isatty():
        answers = {tool.name: interviewed(tool) for tool in (ACUTE, CSSRS)}
    else:
        raise typer.BadParameter("Give --cssrs or --acute, or run it on a terminal to be asked.")
    saved = acted(state, actor, INTAKE, f"{call_path(city, case)}/screenings", {"answers": answers})
    if as_json:
        return printed(saved)
    danger = "危险阳性，台账计时开始 danger positive" if saved["danger"] else "无危险阳性 no danger item"
    console.print(f"筛查已保存 saved · {danger}")
    return None


def escalate(
    case: CaseId,
    desk: Annotated[list[str] | None, typer.Option(help="Short number of a desk, e.g. 110; may be repeated.")] = None,
    reason: Annotated[bool, typer.Option("--reason", help="Ask for a reason, or read it from standard input.")] = False,
    city: City = JINZHONG,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """F9: send people, whatever else is known."""
    body: dict[str, Any] = {"desks": desk or []}
    if reason:
        body["reason"] = typed("原因 reason", stdin=not sys.stdin.isatty())
    _record(state, actor, case, city, "escalations", body, as_json)


def end(
    case: CaseId,
    lost: Annotated[bool, typer.Option("--lost", help="The line was lost.")] = False,
    city: City = JINZHONG,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """The conversation is over; the people on site go on."""
    _record(state, actor, case, city, "end", {"how": "lost" if lost else "completed"}, as_json)


def follow_up(
    case: CaseId,
    date: Annotated[list[str] | None, typer.Option(help="YYYY-MM-DD, repeatable; none: the usual five.")] = None,
    refused: Annotated[list[str] | None, typer.Option(help="A date the person refused; may be repeated.")] = None,
    city: City = JINZHONG,
    actor: Actor = SEAT,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Plan the follow-up: next day, one week, one, three and twelve months, or dates of your own."""
    own = [{"due": day} for day in date or []] + [{"due": day, "agreed": False} for day in refused or []]
    _record(state, actor, case, city, "follow-up-plan", {"follow_ups": own} if own else {"standard": True}, as_json)


def assess(
    case: CaseId, city: City = JINZHONG, actor: Actor = SEAT, as_json: AsJson = False, state: State = None
) -> None:
    """The tier with its reasons in words, and how it went over the call."""
    found = fetched(state, actor, RISK, f"/cities/{city}/assessments/{case}")
    if as_json:
        return printed(found)
    tier = TIERS[found["tier"]]
    headed(f"{tier.zh} {tier.en}", f"· {found['zh']}\n{found['en']}")
    table = Table("依据 reason", "rule", "来源 source", "签发 signed off", box=None)
    for why in found["reasons"]:
        table.add_row(
            f"{why['zh']}\n{why['en']}", why["rule"], why["source"], "是 yes" if why["signed_off"] else "否 no"
        )
    console.print(table, soft_wrap=False)
    return None


def ticked(tool: Instrument, listed: str) -> dict[str, bool]:
    """Answers from the items that are yes; items that are not asked are left out."""
    yes = set() if listed == "none" else {item.strip() for item in listed.split(",")}
    if unknown := yes - tool.items.keys():
        raise typer.BadParameter(
            f"{tool.name} has no item {', '.join(sorted(unknown))}; it has {', '.join(tool.items)}."
        )
    answers: dict[str, bool] = {}
    for item in tool.items:
        if asked(tool, item, answers):
            answers[item] = item in yes
        elif item in yes:
            raise typer.BadParameter(f"{item} is asked only after yes to {tool.asked_if[item]}.")
    return answers


def interviewed(tool: Instrument) -> dict[str, bool]:
    """Answers as they are given, question by question."""
    answers: dict[str, bool] = {}
    for item, question in tool.items.items():
        if asked(tool, item, answers):
            answers[item] = typer.confirm(question, default=False)
    return answers


def asked(tool: Instrument, item: str, answers: Mapping[str, bool]) -> bool:
    """Whether the skip logic comes to this item."""
    before = tool.asked_if.get(item)
    return before is None or answers.get(before, False)


def typed(what: str, stdin: bool) -> str | None:
    """A personal field, from the terminal or standard input; None for an empty line."""
    line = sys.stdin.readline() if stdin else typer.prompt(what, default="", show_default=False)
    return line.strip() or None


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise typer.BadParameter("Standard input is no JSON.") from None


def _record(state: State, actor: str, case: UUID, city: str, what: str, body: Mapping[str, Any], as_json: bool) -> None:
    kept = {name: value for name, value in body.items() if value is not None}
    call = acted(state, actor, INTAKE, f"{call_path(city, case)}/{what}", kept)
    if as_json:
        return printed(call)
    console.print(f"已记录 recorded · {call['spoken_number']} · 台账 ledger {call['ledger']['state']}")
    return None


async def _put(state: State, actor: str, path: str, body: Mapping[str, Any]) -> Any:
    async with connected(whereabouts(state), actor) as client:
        return await client.put(INTAKE, path, body)
