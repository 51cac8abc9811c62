"""`jingyi trace CASE`: every hop of one case, from the first request to the desk's last report, as a waterfall."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import httpx
import typer
from pydantic import BaseModel, ConfigDict, TypeAdapter
from rich.table import Table
from rich.text import Text

from deploy.cli.client import console
from deploy.local import folders, record
from shared.contract.shown import shown_text

BAR = 40
"""Columns of the time axis."""

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
ADDRESS = "http://127.0.0.1:8130"


class Span(BaseModel):
    """One span as the collector gives it; times are nanoseconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    span: str
    parent: str = ""
    service: str
    name: str
    start: int
    end: int
    error: str | None = None


@dataclass(frozen=True)
class Row:
    """A span in its place: how deep below the first, and what came before it."""

    span: Span
    depth: int


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command()(trace)


def trace(
    case: Annotated[UUID, typer.Argument(help="The case id.")],
    collector: Annotated[str | None, typer.Option(envvar="JINGYI_OTLP", help="Where the collector is.")] = None,
    state: Annotated[Path | None, typer.Option(help="Where the running system keeps its data.")] = None,
) -> None:
    """Draw the waterfall of one case."""
    collector = collector or running_collector(state or folders.run())
    try:
        answered = httpx.get(f"{collector}/traces/{case}", timeout=5, trust_env=False)
    except httpx.HTTPError:
        raise typer.Exit(complain(f"No collector answers at {collector}; start it with `make run`.")) from None
    if answered.status_code == 404:
        raise typer.Exit(complain("No trace of this case has come in yet; spans arrive about 1 s late."))
    answered.raise_for_status()
    console.print(waterfall(TypeAdapter(list[Span]).validate_json(answered.content)), soft_wrap=False)


def running_collector(state: Path) -> str:
    """Where the system that runs in `state` has its collector; where one usually is, if none runs."""
    urls: dict[str, str] = record.read(state).get("urls", {})
    return urls.get("collector", ADDRESS)


def complain(sentence: str) -> int:
    console.print(sentence, style="red")
    return 1


def waterfall(spans: Sequence[Span]) -> Table:
    """The spans as a table: who did what, when it began, how long it took, each below what caused it."""
    begin = min((span.start for span in spans), default=0)
    total = max(1, max((span.end for span in spans), default=0) - begin)
    services = list(dict.fromkeys(span.service for span in sorted(spans, key=lambda span: span.start)))
    colours = {service: COLOURS[n % len(COLOURS)] for n, service in enumerate(services)}
    table = Table(title=f"{len(spans)} spans · {duration(total)}", title_justify="left", box=None, pad_edge=False)
    for heading in ("service", "span"):
        table.add_column(heading, no_wrap=True)
    table.add_column("start", justify="right", no_wrap=True)
    table.add_column("", width=BAR, no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    for row in rows(spans):
        span, colour = row.span, "red" if row.span.error else colours[row.span.service]
        table.add_row(
            Text(shown_text(span.service), style=colours[span.service]),
            Text("  " * row.depth + shown_text(span.name + (f"  ✗ {span.error}" if span.error else ""))),
            f"+{duration(span.start - begin)}",
            Text(bar(span.start - begin, span.end - begin, total), style=colour),
            duration(span.end - span.start),
        )
    return table


def rows(spans: Iterable[Span]) -> Iterator[Row]:
    """Parents before their children, each generation by time. A span whose parent never came stands as a root."""
    known = {span.span: span for span in spans}
    below: dict[str, list[Span]] = {}
    for span in sorted(known.values(), key=lambda span: (span.start, -span.end)):
        below.setdefault(span.parent if span.parent in known and span.parent != span.span else "", []).append(span)
    todo = [Row(span, 0) for span in reversed(below.pop("", []))]
    while todo:
        row = todo.pop()
        yield row
        todo.extend(Row(child, row.depth + 1) for child in reversed(below.pop(row.span.span, [])))
    for circle in below.values():  # spans that name each other as parents still happened
        yield from (Row(span, 0) for span in circle)


def bar(start: int, end: int, total: int, width: int = BAR) -> str:
    """A stretch of the time axis, never shorter than one cell."""
    first = min(width - 1, start * width // total)
    last = max(first + 1, min(width, -(-end * width // total)))
    return " " * first + "━" * (last - first)


def duration(nanoseconds: int) -> str:
    """A time as a person reads it: 850 µs, 12.3 ms, 4.21 s, 3 min 05 s."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1000:.0f} µs"
    if nanoseconds < 1_000_000_000:
        return f"{nanoseconds / 1_000_000:.1f} ms"
    if nanoseconds < 60_000_000_000:
        return f"{nanoseconds / 1_000_000_000:.2f} s"
    minutes, seconds = divmod(round(nanoseconds / 1_000_000_000), 60)
    return f"{minutes} min {seconds:02d} s"
