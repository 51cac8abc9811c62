"""The arguments and options that commands of `jingyi` share."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

CaseId = Annotated[UUID, typer.Argument(metavar="CASE", help="The case id that `jingyi call open` printed.")]
State = Annotated[Path | None, typer.Option("--state", help="Where the running system keeps its data.")]
City = Annotated[str, typer.Option("--city", envvar="JINGYI_CITY", help="Division code of the line's city.")]
Actor = Annotated[str, typer.Option("--as", envvar="JINGYI_ACTOR", help="Staff or seat number of who acts.")]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Desk = Annotated[str, typer.Argument(metavar="DESK", help="A desk such as 140700-110, or its short number.")]

JINZHONG = "140700"
SEAT = "seat-1"
SUPERVISOR = "supervisor-1"


def full(desk: str, city: str) -> str:
    """The desk's id; a short number means the line's own city."""
    return desk if "-" in desk else f"{city}-{desk}"
