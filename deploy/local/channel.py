"""短信与语音网关（模拟）: it takes messages to people outside, as a separate process: `python -m deploy.local.channel`.

It is told JINGYI_PORT and JINGYI_CHANNEL_STATE (folder). POST /messages/{person} takes what apprise's `json://` posts;
GET /log, GET and POST /behaviour are for the people who play with it. These are also served at the address in
`<state>/control.url`, where it is reached while it is down.
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from deploy.local.desk import told_to_stop
from deploy.local.desk_door import Door
from deploy.local.ports import HOST
from deploy.local.trouble import Trouble


class Behaviour(BaseModel):
    """`down` refuses connections, `slow` seconds pass before a message is taken, `error` answers HTTP 500."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    down: bool = False
    slow: Annotated[float, Field(ge=0, le=600)] = 0
    error: bool = False


class Message(BaseModel):
    """What apprise posts, as far as it is words."""

    message: str


class Log:
    """Append-only, JSON lines: `at`, `what` (message or refused), `to` whom, the `words`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, to: str, words: str) -> None:
        line = {"at": datetime.now(UTC).isoformat(), "what": what, "to": to, "words": words}
        os.write(self._file, json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


class Gateway:
    """One gateway: how it behaves, and its log."""

    def __init__(self, state: Path, port: int) -> None:
        self.behaviour = Behaviour()
        self.log = Log(state)
        self.door = Door(self.app(), port)
        self.control = Door(self.app(), 0)

    def app(self) -> FastAPI:
        app = FastAPI(title="SMS and voice gateway (simulated)")
        app.add_api_route("/health/ready", self.ready)
        app.add_api_route("/messages/{person}", self.take, methods=["POST"])
        app.add_api_route("/log", self.read)
        app.add_api_route("/behaviour", self.ready)
        app.add_api_route("/behaviour", self.behave, methods=["POST"])
        return app

    async def ready(self) -> Behaviour:
        return self.behaviour

    async def take(self, person: str, message: Message) -> JSONResponse:
        behaviour = self.behaviour
        await asyncio.sleep(behaviour.slow)
        self.log.write("refused" if behaviour.error else "message", person, message.message)
        return JSONResponse({}, 500 if behaviour.error else 200)

    async def read(self, to: str | None = None) -> list[dict[str, Any]]:
        """Every line, oldest first; with `to` those of one person."""
        return [line for line in self.log.lines() if to in {None, line["to"]}]

    async def behave(self, told: Behaviour, request: Request) -> JSONResponse:
        """From now on; what is not named is as in a gateway that works."""
        self.behaviour = told
        # Shutting a door waits for the answers under way through it.
        through_the_door = request.scope["server"][1] == self.door.port
        if not through_the_door:
            await self.apply()
        return JSONResponse(told.model_dump(), background=BackgroundTask(self.later) if through_the_door else None)

    async def later(self) -> None:
        self._moving = asyncio.create_task(self.apply())

    async def apply(self) -> None:
        await self.door.stand(open=not self.behaviour.down)


async def serve(state: Path, port: int) -> None:
    """Be a gateway until SIGTERM or SIGINT."""
    gateway = Gateway(state, port)
    await gateway.control.stand(open=True)
    (state / "control.url").write_text(f"http://{HOST}:{gateway.control.port}\n", encoding="utf-8")
    await gateway.door.stand(open=True)
    await told_to_stop()
    await gateway.door.stand(open=False)
    await gateway.control.stand(open=False)


def main() -> None:
    try:
        uvloop.run(serve(Path(os.environ["JINGYI_CHANNEL_STATE"]), int(os.environ["JINGYI_PORT"])))
    except (KeyError, ValueError) as missing:
        sys.exit(f"A gateway needs JINGYI_CHANNEL_STATE and JINGYI_PORT; {missing} does not do.")
    except Trouble as trouble:
        sys.exit(str(trouble))


if __name__ == "__main__":
    main()
