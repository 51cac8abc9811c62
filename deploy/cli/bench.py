"""`jingyi bench`: the product beside the bare pipeline, as a table and as bench.json."""

import asyncio
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy.bench.run import Size, measure, write
from deploy.cli.client import Screen

console = Screen()


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command()(bench)


def bench(
    blocks: Annotated[int, typer.Option(help="Blocks of each pipeline at each rate.")] = 7,
    saves: Annotated[int, typer.Option(help="Saves in a block.")] = 500,
    to: Annotated[Path, typer.Option("--to", help="Where the figures are written.")] = Path("bench.json"),
) -> None:
    """Performance beside the bare pipeline in the same run (about 15 minutes)."""
    state = Path(mkdtemp(prefix="jingyi-bench-"))
    try:
        found = asyncio.run(measure(state, Size(blocks, saves), console.print))
    finally:
        shutil.rmtree(state, ignore_errors=True)
    write(found, to)
    console.print(drawn(found))
    console.print(f"CPU ms per escalation: {found['cpu_ms_per_escalation']}")
    console.print(f"Written to {to}.")


def drawn(found: dict[str, Any]) -> Table:
    """The report as a table."""
    table = Table(
        "load", "bare p50 / p99", "product p50 / p99", "ratio p50", "ratio p99", title="saved → both desks, ms"
    )
    for rate, row in found["rates"].items():
        plain, system = row["bare"], row["system"]
        table.add_row(
            f"{rate}/s",
            f"{plain['p50_ms']} / {plain['p99_ms']}",
            f"{system['p50_ms']} / {system['p99_ms']}",
            f"{row['ratio_p50']}×",
            f"{row['ratio_p99']}×",
        )
    flat = found["flat_out"]
    table.add_row("flat out", f"{flat['bare_per_s']}/s", f"{flat['system_per_s']}/s", f"{flat['ratio']}×", "")
    return table
