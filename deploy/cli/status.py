"""`jingyi status`: how the running system stands, and whether everything agrees."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import httpx
import typer

from deploy.cli.client import AUDITOR, console, fail
from deploy.local import folders, record, table
from deploy.local.trouble import Trouble

WITHIN = 3.0
"""Seconds."""


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command()(status)


def status(state: Annotated[Path | None, typer.Option("--state", help="Where data and logs are kept.")] = None) -> None:
    """How the running system stands; exit code 1 when none runs."""
    home = state or folders.run()
    try:
        found = record.find(home)
    except Trouble as trouble:
        fail(trouble)
    if found is None:
        fail(Trouble(f"Nothing runs in {home}; `make run` starts it."))
    console.print(table.drawn(table.rows(found.get("programs", {}))), soft_wrap=False)
    said, colour = heartbeat(found.get("urls", {}))
    console.print(f"  {said}", style=colour)


def heartbeat(urls: Mapping[str, str]) -> tuple[str, str]:
    """What the auditor says of itself, and a colour."""
    try:
        beat = httpx.get(f"{urls[AUDITOR]}/heartbeat", timeout=WITHIN, trust_env=False).json()
    except (KeyError, httpx.HTTPError, ValueError):
        return "核对 auditor: 没有应答 does not answer", "red"
    warned = "".join(f" · {count} {kind}" for kind, count in beat["warnings"].items())
    if beat["agrees"]:
        return f"核对 auditor: 一致 everything agrees{warned}", "yellow" if warned else "green"
    found = ", ".join(f"{count} {kind}" for kind, count in beat["findings"].items()) or "尚未核对 not compared yet"
    return f"核对 auditor: 有出入 differs: {found}{warned}", "red"
