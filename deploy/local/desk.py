"""指挥台（模拟）: a 110 or 120 desk with a system of its own, as a separate process: `python -m deploy.local.desk`.

It is told who it is by JINGYI_DESK (desk id), JINGYI_PORT, JINGYI_SECRET (`whsec_…`), JINGYI_DESK_STATE (folder) and
JINGYI_DESK_BEHAVIOUR (JSON: how it behaves until told otherwise). POST /callouts is the desk's side of the wire; GET
/log, GET and POST /behaviour, POST /answer are for the people who play with it. These are also served at the address
in `<state>/control.url` (JINGYI_CONTROL_PORT, else a free port), where the desk is reached while its wire is down.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from fastapi import FastAPI
from pydantic import ValidationError

from deploy.local.desk_behaviour import Behaviour
from deploy.local.desk_book import Book
from deploy.local.desk_control import control_routes
from deploy.local.desk_door import Door
from deploy.local.desk_reports import Reporter
from deploy.local.desk_signature import BadSecret, sign
from deploy.local.desk_wire import Wire
from deploy.local.ports import HOST
from deploy.local.trouble import Trouble


@dataclass(frozen=True)
class Told:
    """Who this desk is."""

    desk: str
    port: int
    secret: str
    state: Path
    behaviour: Behaviour
    control_port: int = 0

    @classmethod
    def by(cls, environment: Mapping[str, str]) -> "Told":
        """Out of the environment; Trouble names what is missing or wrong."""
        try:
            told = cls(
                desk=environment["JINGYI_DESK"],
                port=int(environment["JINGYI_PORT"]),
                secret=environment["JINGYI_SECRET"],
                state=Path(environment["JINGYI_DESK_STATE"]),
                behaviour=Behaviour.model_validate_json(environment.get("JINGYI_DESK_BEHAVIOUR") or "{}"),
                control_port=int(environment.get("JINGYI_CONTROL_PORT") or 0),
            )
        except KeyError as missing:
            raise Trouble(f"A desk needs {missing.args[0]}; see the top of deploy/local/desk.py.") from None
        except ValidationError as nonsense:
            raise Trouble(f"JINGYI_DESK_BEHAVIOUR is no behaviour: {nonsense.errors()[0]['msg']}.") from None
        except ValueError:
            raise Trouble("JINGYI_PORT and JINGYI_CONTROL_PORT are port numbers.") from None
        try:
            sign(told.secret, "", 0, b"")
        except BadSecret as unusable:
            raise Trouble(f"JINGYI_SECRET does not do. {unusable}") from None
        if not re.fullmatch(r"[0-9]{6}-[0-9]{3,5}", told.desk):
            raise Trouble("JINGYI_DESK is a desk id such as 140700-110.")
        return told


async def serve(told: Told) -> None:
    """Be a desk until SIGTERM or SIGINT."""
    book = Book(told.state, told.behaviour)
    if (
        book.behaviour.down and not told.behaviour.down
    ):  # who starts a desk wants it up, and a supervisor waits for its door
        book.behave(now(), book.behaviour.changed({"down": False}))
    reporter = Reporter(book, told.secret, now)
    wire = Wire(told.desk, told.secret, book, reporter, now)
    moves: set[asyncio.Task[None]] = set()

    async def apply(later: bool) -> None:
        moving = asyncio.create_task(door.stand(open=not book.behaviour.down))
        moves.add(moving)
        if not later:
            await moving

    app, control_app = (FastAPI(title=f"Desk {told.desk} (simulated)") for _ in range(2))
    for served in (app, control_app):
        served.include_router(control_routes(wire, apply, told.port))
    app.add_route("/callouts", wire.posted, methods=["POST"])
    door, control = Door(app, told.port), Door(control_app, told.control_port)
    await control.stand(open=True)
    (told.state / "control.url").write_text(f"http://{HOST}:{control.port}\n", encoding="utf-8")
    await door.stand(open=not book.behaviour.down)
    wire.resume()
    await told_to_stop()
    await door.stand(open=False)
    await control.stand(open=False)
    await reporter.close()


async def told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    try:
        uvloop.run(serve(Told.by(os.environ)))
    except Trouble as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    main()
