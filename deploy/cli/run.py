"""`jingyi run`: the whole system on this machine, until Ctrl-C."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from deploy.cli.client import console, fail
from deploy.local import folders, record, table
from deploy.local.ports import Ports
from deploy.local.supervisor import Standing, State
from deploy.local.system import Items, Plan, Running, system
from deploy.local.trouble import Trouble

StateFolder = Annotated[Path | None, typer.Option("--state", help="Where data and logs are kept.")]
PortChoice = Annotated[list[str] | None, typer.Option("--port", help="NAME=NUMBER, for each port to change.")]
FreePorts = Annotated[bool, typer.Option("--free-ports", help="Take ports that nobody uses.")]


def register(root: typer.Typer) -> None:
    """Make this command part of `jingyi`."""
    root.command()(run)


def run(state: StateFolder = None, port: PortChoice = None, free_ports: FreePorts = False) -> None:
    """Start everything, print where it is, stay until Ctrl-C."""
    home = state or folders.run()
    try:
        ports = Ports.free() if free_ports else Ports.chosen(os.environ, chosen_ports(port or []))
        asyncio.run(stay(home, ports))
    except record.AlreadyRunning as running:
        console.print(f"{running} `jingyi status` shows how it stands.")
    except Trouble as trouble:
        fail(trouble)


async def stay(state: Path, ports: Ports, items: Callable[[Plan], Items] = Plan.items) -> None:
    """Until somebody asks it to end, on the way up too. Asked again, it no longer waits for anybody."""
    life = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, life.cancel if life else sys.exit)
    with suppress(asyncio.CancelledError):
        async with system(state, ports, items=items, told=tell) as running:
            welcome(running)
            try:
                await watch(running)
            finally:
                console.print("Stopping.")


async def watch(running: Running) -> None:
    """A live table on a terminal; elsewhere the lines of `tell` say what changes."""
    if not console.is_terminal:
        await asyncio.Event().wait()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            programs = record.read(running.state).get("programs", {})
            live.update(table.drawn(table.rows(programs)), refresh=True)
            await asyncio.sleep(1)


def tell(standing: Standing) -> None:
    if standing.state is State.STARTING and standing.pid is None:
        return  # it is told again once there is a process
    process = f"process {standing.pid}" if standing.pid else ""
    console.print(f"  {standing.item.name:<18} {standing.state:<10} {process}".rstrip())


def welcome(running: Running) -> None:
    console.print(f"\nEverything is up after {running.took:.1f} s. Ctrl-C stops it.")
    console.print(f"  data and logs       {running.state}")


def chosen_ports(chosen: list[str]) -> dict[str, int]:
    pairs = [choice.partition("=") for choice in chosen]
    wrong = [name for name, _, number in pairs if not (number.isascii() and number.isdecimal())]
    if wrong:
        raise Trouble(f"--port {wrong[0]} says no number; write it as --port NAME=NUMBER.")
    return {name: int(number) for name, _, number in pairs}
