"""The command `jingyi`: run the whole system on this machine, and see how it stands."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live

from deploy.cli import alarms, audit, calls, dead_letters, demo, incidents, rebuild, replay, tasks
from deploy.cli import watch as live
from deploy.cli.bench import bench
from deploy.cli.heartbeat import heartbeat
from deploy.cli.trace import trace
from deploy.local import folders, record, table
from deploy.local.ports import Ports
from deploy.local.supervisor import Standing, State
from deploy.local.system import SCREENS, Items, Plan, Running, system
from deploy.local.trouble import Trouble

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console()

StateFolder = Annotated[Path | None, typer.Option("--state", help="Where data and logs are kept.")]
PortChoice = Annotated[list[str] | None, typer.Option("--port", help="NAME=NUMBER, for each port to change.")]
FreePorts = Annotated[bool, typer.Option("--free-ports", help="Take ports that nobody uses.")]


app.command()(trace)
app.command()(bench)
for commands in (calls, incidents, alarms, tasks, audit, dead_letters, rebuild, live, demo):
    commands.register(app)
replay.register(dead_letters.app)


@app.command()
def run(state: StateFolder = None, port: PortChoice = None, free_ports: FreePorts = False) -> None:
    """Start everything, print where it is, stay until Ctrl-C."""
    home = state or folders.run()
    try:
        ports = Ports.free() if free_ports else Ports.chosen(os.environ, options(port or []))
        asyncio.run(stay(home, ports))
    except record.AlreadyRunning as running:
        console.print(f"{running}")
        point(running.written.get("urls", {}))
    except Trouble as trouble:
        fail(trouble)


@app.command()
def status(state: StateFolder = None) -> None:
    """How the running system stands; exit code 1 when none runs."""
    home = state or folders.run()
    try:
        found = record.find(home)
    except Trouble as trouble:
        fail(trouble)
    if found is None:
        fail(Trouble(f"Nothing runs in {home}; `make run` starts it."))
    console.print(table.drawn(table.rows(found.get("programs", {}))))
    said, colour = heartbeat(found.get("urls", {}))
    console.print(f"  {said}", style=colour, highlight=False)
    point(found.get("urls", {}))


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
    console.print(f"  {standing.item.name:<18} {standing.state:<10} {process}".rstrip(), highlight=False)


def welcome(running: Running) -> None:
    console.print(f"\nEverything is up after {running.took:.1f} s. Ctrl-C stops it.")
    point(running.urls)
    console.print(f"  data and logs       {running.state}", highlight=False)


def point(urls: dict[str, Any]) -> None:
    for label, service, path in SCREENS:
        if service in urls:
            console.print(f"  {label:<18}  {urls[service]}{path}", highlight=False)


def options(chosen: list[str]) -> dict[str, int]:
    pairs = [choice.partition("=") for choice in chosen]
    wrong = [name for name, _, number in pairs if not number.isdecimal()]
    if wrong:
        raise Trouble(f"--port {wrong[0]} says no number; write it as --port NAME=NUMBER.")
    return {name: int(number) for name, _, number in pairs}


def fail(trouble: Trouble) -> NoReturn:
    console.print(str(trouble), style="red", highlight=False)
    raise typer.Exit(1)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
