"""How the programs stand, as a table for a person: process, port, state, restarts, memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

MB = 1_000_000
COLOURS = {"ready": "green", "done": "green", "starting": "yellow", "restarting": "red", "waiting": "dim"}


@dataclass(frozen=True)
class Row:
    name: str
    pid: int | None
    port: int | None
    state: str
    restarts: int


def rows(programs: dict[str, dict[str, Any]]) -> list[Row]:
    """From a system's own note."""
    return [Row(name, p["pid"], p["port"], p["state"], p["restarts"]) for name, p in programs.items()]


def drawn(shown: Iterable[Row]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for heading in ("program", "state"):
        table.add_column(heading)
    for heading in ("process", "port", "restarts", "memory"):
        table.add_column(heading, justify="right")
    whole = 0
    for row in shown:
        used = memory(row.pid)
        whole += used
        state = Text(row.state, style=COLOURS.get(row.state, "red"))
        numbers = [str(number or "") for number in (row.pid, row.port, row.restarts)]
        table.add_row(row.name, state, *numbers, megabytes(used))
    table.add_row("", "", "", "", "", Text(megabytes(whole), style="bold"))
    return table


def memory(pid: int | None) -> int:
    """Its proportional share where the kernel tells it, so that the sum is true; else what is resident."""
    try:
        import psutil  # not where only the services run: there this column stays empty
    except ImportError:
        return 0
    try:
        used = psutil.Process(pid).memory_full_info() if pid else None
    except psutil.Error:
        return 0
    return int(getattr(used, "pss", None) or used.rss) if used else 0


def megabytes(used: int) -> str:
    return f"{used / MB:.0f} MB" if used else ""
