"""人工告警 by hand: who must be phoned now, and who is doing it: `jingyi alarms [claim|settle|release]`."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from deploy.cli.asked import JINZHONG, SUPERVISOR, Actor, AsJson, CaseId, City, Desk, State, full
from deploy.cli.client import INTAKE, acted, console, fetched, printed
from deploy.cli.wording import coded, desk
from shared.kernel import clock

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="Which desks a person must phone now.")

ANSWER = {"ringing": "🔔 告警中 ringing", "claimed": "📞 有人在打 claimed"}


def register(root: typer.Typer) -> None:
    """Make these commands part of `jingyi`."""
    root.add_typer(app, name="alarms")


@app.callback(invoke_without_command=True)
def alarms(
    context: typer.Context,
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """Every desk that rings or is being phoned, longest ringing first."""
    if context.invoked_subcommand:
        return None
    found = fetched(state, actor, INTAKE, f"/cities/{city}/alarms")
    if as_json:
        return printed(found)
    if not found:
        console.print("没有人工告警 No alarm rings.", style="green")
        return None
    console.print(table(found, city), soft_wrap=False)
    one = found[0]
    console.print(f"  jingyi alarms claim {one['case']} {desk(one['desk'], city).zh}", style="dim")
    return None


@app.command()
def claim(case: CaseId, to: Desk, city: City = JINZHONG, actor: Actor = SUPERVISOR, state: State = None) -> None:
    """我来打: I am phoning this desk now; the machine holds until you settle or release it."""
    _obey(state, actor, f"/cities/{city}/alarms/{case}/claims", {"desk": full(to, city)})


@app.command()
def settle(
    case: CaseId,
    to: Desk,
    officer: Annotated[str, typer.Option(help="警号: who took it.")],
    event_no: Annotated[str, typer.Option(help="警情编号: the desk's own event number.")],
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    state: State = None,
) -> None:
    """The desk has it, told by phone."""
    body = {"desk": full(to, city), "officer": officer, "event_no": event_no}
    _obey(state, actor, f"/cities/{city}/alarms/{case}/settlements", body)


@app.command()
def release(case: CaseId, to: Desk, city: City = JINZHONG, actor: Actor = SUPERVISOR, state: State = None) -> None:
    """I could not reach them: it rings again, and the machine sends again."""
    _obey(state, actor, f"/cities/{city}/alarms/{case}/releases", {"desk": full(to, city)})


def table(found: list[dict[str, Any]], city: str) -> Table:
    """The alarms as a person at the phone needs them: number first."""
    heads = ("拨打 phone", "指挥台 desk", "口述编号 spoken no.", "原因 because", "已响 for", Column(overflow="fold"))
    drawn = Table(*heads, box=None)
    for alarm in found:
        why, since = coded(alarm["because"] or ""), alarm["ringing_since"]
        rung = f"{(clock.now() - datetime.fromisoformat(since)).total_seconds():.0f} s" if since else ""
        who = ANSWER[alarm["phase"]] + (f" {alarm['claimed_by']}" if alarm["claimed_by"] else "")
        who = "\n".join((who, *people(alarm)))
        called = desk(alarm["desk"], city).zh
        drawn.add_row(alarm["number"] or called, called, alarm["spoken_number"], f"{why.zh} {why.en}", rung, who)
    return drawn


def people(alarm: dict[str, Any]) -> list[str]:
    """Who is being rung, and whether anybody outside can be."""
    rung = ["、".join(alarm["rings"])] if alarm["rings"] else []
    return [*rung, "⚠ 外呼未送出 no channel took it"] if rung and alarm["taken"] is False else rung


def _obey(state: State, actor: str, path: str, body: dict[str, str]) -> None:
    call = acted(state, actor, INTAKE, path, body)
    for watched in call["ledger"]["desks"]:
        if watched["desk"] == body["desk"]:
            console.print(f"{body['desk']}: {watched['phase']}" + (f" · {watched['by']}" if watched["by"] else ""))
