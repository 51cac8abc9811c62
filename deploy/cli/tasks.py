"""电话任务 by hand: the calls that people have to make to desks without a system: `jingyi tasks [claim|report]`."""

from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from deploy.cli.asked import JINZHONG, SUPERVISOR, Actor, AsJson, CaseId, City, Desk, State, full
from deploy.cli.client import ADAPTER, acted, console, fetched, headed, printed
from deploy.cli.wording import RUNGS, coded
from shared.contract.terms import Rung

app = typer.Typer(
    rich_markup_mode=None, invoke_without_command=True, help="Which calls to desks are to be made by a person."
)

N = Annotated[int, typer.Argument(help="Which call-out of this desk; 0 is a warning.")]
Said = Annotated[str | None, typer.Option()]


def register(root: typer.Typer) -> None:
    """Make these commands part of `jingyi`."""
    root.add_typer(app, name="tasks")


@app.callback(invoke_without_command=True)
def tasks(
    context: typer.Context,
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """The calls to make now, longest open first."""
    if context.invoked_subcommand:
        return None
    found = fetched(state, actor, ADAPTER, f"/cities/{city}/tasks")
    if as_json:
        return printed(found)
    if not found:
        console.print("没有电话任务 No call is to be made.", style="green")
        return None
    drawn = Table(
        "拨打 phone", "指挥台 desk", "口述编号 spoken no.", "事由 what", "在打 claimed by", "case/desk/n", box=None
    )
    for task in found:
        what = coded("stood_down" if task["to_cancel"] else task["purpose"])
        who = task["claimed_by"] or "—"
        drawn.add_row(task["number"], task["name"], task["spoken_number"], f"{what.zh} {what.en}", who, task["key"])
    console.print(drawn, soft_wrap=False)
    return None


@app.command()
def claim(
    case: CaseId, to: Desk, n: N = 1, city: City = JINZHONG, actor: Actor = SUPERVISOR, state: State = None
) -> None:
    """我来打: take the call; shows what to say, and what to write down."""
    acted(state, actor, ADAPTER, f"{callout_path(city, to, case, n)}/claims", {})
    callout = fetched(state, actor, ADAPTER, callout_path(city, to, case, n))
    headed("请拨打 phone", f"{callout['number']}  {callout['name']}")
    for line in callout["script"]:
        headed(line["about"], line["words"])


@app.command()
def report(
    case: CaseId,
    to: Desk,
    rung: Annotated[Rung, typer.Argument(help="What the desk said.")],
    n: N = 1,
    officer: Said = None,
    event_no: Said = None,
    unit: Said = None,
    code: Said = None,
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    state: State = None,
) -> None:
    """Take down what the desk said on the phone. Accepted needs --officer and --event-no; cleared needs --code."""
    told: dict[str, Any] = {"rung": rung, "officer": officer, "event_no": event_no, "unit": unit, "code": code}
    body = {name: value for name, value in told.items() if value is not None}
    now = acted(state, actor, ADAPTER, f"{callout_path(city, to, case, n)}/reports", body)
    words = RUNGS[now["rung"]]
    console.print(f"{now['key']}: {words.zh} {words.en}" + (f" · {now['event_no']}" if now["event_no"] else ""))


def callout_path(city: str, desk: str, case: UUID, n: int) -> str:
    return f"/cities/{city}/callouts/{full(desk, city)}/{case}/{n}"
