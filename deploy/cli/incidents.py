"""An incident by hand: its legs as a table, and what a supervisor may ask: `jingyi incident`, `order`, `close` …"""

from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.cli.asked import JINZHONG, SUPERVISOR, Actor, AsJson, CaseId, City, Desk, State, full
from deploy.cli.client import DISPATCH, acted, console, fetched, headed, incident_path, printed
from deploy.cli.wording import CONFIDENCE, RUNGS, TIERS, Words, coded, desk, joined

Reason = Annotated[str, typer.Option("--reason", help="A coded reason, e.g. place_corrected.")]
Outcome = Annotated[str, typer.Option("--outcome", help="safe_at_home, hospital, handed_to_family, not_found …")]


def register(root: typer.Typer) -> None:
    """Make these commands part of `jingyi`."""
    commands = (incident, incidents, order, cancel, stand_down, contact, absence, close)
    for command in commands:
        root.command(command.__name__.replace("_", "-"))(command)


def incident(
    case: CaseId, city: City = JINZHONG, actor: Actor = SUPERVISOR, as_json: AsJson = False, state: State = None
) -> None:
    """How every leg stands, and what is missing before the incident may be closed."""
    found = fetched(state, actor, DISPATCH, incident_path(city, case))
    printed(found) if as_json else show(found, city)


def incidents(city: City = JINZHONG, actor: Actor = SUPERVISOR, as_json: AsJson = False, state: State = None) -> None:
    """The open incidents, longest open first."""
    found = fetched(state, actor, DISPATCH, f"/cities/{city}/incidents")
    if as_json:
        return printed(found)
    if not found:
        console.print("没有处置中的联动事件 No incident is open.")
    for one in found:
        late, style = (" 逾时 overdue", "red") if one["overdue"] else ("", "")
        words = f"{tier(one['tier']).zh} {tier(one['tier']).en}{late}"
        console.print(f"{one['spoken_number']}  {words}  {one['case']}", style=style)
    return None


def order(
    case: CaseId,
    to: Desk,
    reason: Reason = "by_supervisor",
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    state: State = None,
) -> None:
    """Call a desk out again, or another one."""
    _ask(state, actor, f"{incident_path(city, case)}/orders", {"desk": to, "reason": reason}, city)


def cancel(
    case: CaseId,
    to: Desk,
    reason: Reason = "by_supervisor",
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    state: State = None,
) -> None:
    """Ask one desk to stand down; it answers whether it still can."""
    body = {"desk": full(to, city), "reason": reason}
    _ask(state, actor, f"{incident_path(city, case)}/cancellations", body, city)


def stand_down(
    case: CaseId,
    reason: Reason = "by_supervisor",
    city: City = JINZHONG,
    actor: Actor = SUPERVISOR,
    state: State = None,
) -> None:
    """Ask every desk to stand down."""
    _ask(state, actor, f"{incident_path(city, case)}/stand-down", {"reason": reason}, city)


def contact(case: CaseId, city: City = JINZHONG, actor: Actor = SUPERVISOR, state: State = None) -> None:
    """Confirm that one of us sees or hears the person safe."""
    _ask(state, actor, f"{incident_path(city, case)}/contact", {}, city)


def absence(
    case: CaseId, reason: Reason, city: City = JINZHONG, actor: Actor = SUPERVISOR, state: State = None
) -> None:
    """Say why contact was not made."""
    _ask(state, actor, f"{incident_path(city, case)}/absence", {"reason": reason}, city)


def close(
    case: CaseId, outcome: Outcome, city: City = JINZHONG, actor: Actor = SUPERVISOR, state: State = None
) -> None:
    """Close the incident; it says everything that is missing if it cannot be closed yet."""
    _ask(state, actor, f"{incident_path(city, case)}/closing", {"outcome": outcome}, city)


def show(found: dict[str, Any], city: str) -> None:
    """One incident as a person reads it."""
    why, how = joined(coded(code) for code in found["reasons"]), tier(found["tier"])
    headed(found["spoken_number"], f"{found['status']}  {how.zh} {how.en}")
    console.print(f"  {why.zh}\n  {why.en}", style="dim")
    table = Table("处置线 leg", "n", "进展 rung", "编号 no.", "警员 officer", "逾时 overdue", "", box=None)
    for leg in found["legs"]:
        table.add_row(*_leg(leg, city))
    console.print(table, soft_wrap=False)
    place = CONFIDENCE[found["place"]]
    contact = found["contact_by"] or ("是 yes" if found["contact"] else "否 no")
    console.print(
        f"位置 place {place.zh} {place.en} · 线上 counselling {found['counselling']} · 见到本人 contact {contact}"
    )
    for gap in found["missing"]:
        console.print(f"  还缺 missing: {gap['zh']} {gap['en']}", style="yellow")
    if found["outcome"]:
        outcome = coded(found["outcome"])
        console.print(f"结果 outcome: {outcome.zh} {outcome.en}", style="green")


def _leg(leg: dict[str, Any], city: str) -> tuple[str, ...]:
    rung, late = RUNGS[leg["rung"]], joined(RUNGS[rung] for rung in leg["overdue"])
    note = coded(leg["code"]) if leg["code"] else Words("", "")
    called = desk(leg["desk"], city).zh + (" 预警 warned" if leg["purpose"] == "warn" else "")
    said = (leg["event_no"] or "", leg["officer"] or "", late.zh)
    return (called, str(leg["n"]), f"{rung.zh} {rung.en}", *said, f"{note.zh} {note.en}".strip())


def tier(value: str | None) -> Words:
    """A tier in words; an incident opened by hand may have none."""
    return TIERS[value] if value else Words("未评估", "not assessed")


def _ask(state: State, actor: str, path: str, body: dict[str, Any], city: str) -> None:
    show(acted(state, actor, DISPATCH, path, body), city)
