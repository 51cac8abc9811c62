"""A service as a simulated process: it starts, serves, ends at any step, and is started again by its supervisor."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import httpx

from services.auditor import service as auditor
from shared.contract.event import DeadlinePassed, Event, Message
from shared.kernel.machine.keeper import Keeper
from shared.kernel.process.platform import Platform
from shared.kernel.process.service import BuildService, assemble_process
from shared.kernel.process.settings import Settings
from tests.simulation.loop import Life, VirtualLoop
from tests.simulation.routes import ready
from tests.simulation.store import OUTSIDE

App = Callable[[Any, Any, Any], Any]


class Refused(Exception):
    """Nobody listens there."""


class Cut(Exception):
    """The connection broke before the answer came."""


class _Serving:
    """Stands for uvicorn: requests are brought to the application by hand."""

    should_exit = False

    async def serve(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(30)


@dataclass(eq=False)
class Program:
    """One service; `life` is its present process, if one runs. Its machines fail at deadlines of a `poisoned` case."""

    name: str
    settings: Settings
    platform: Platform
    now: Callable[[], datetime]
    loop: VirtualLoop
    told: Callable[[str, str], None]
    restart_after: Callable[[], float]
    doing: Callable[["Program"], Coroutine[Any, Any, None]]
    lives: int = 0
    life: Life | None = None
    app: Any = None
    crashes: list[str] = field(default_factory=list)
    keepers: dict[str, Keeper[Any]] = field(default_factory=dict)
    poisoned: str | None = None
    emits: frozenset[type[Event]] = frozenset()
    tasks: list[Any] = field(default_factory=list)
    _open: set["asyncio.Future[tuple[int, bytes]]"] = field(default_factory=set)

    def start(self) -> None:
        """A new process, with nothing in memory."""
        self.lives += 1
        self.life = life = Life(self.name, self.lives)
        life.at_end.append(self._ended)
        self.told(self.name, "starts")
        self.tasks.append(self.loop.create_task(self._run(life), context=life.context()))

    def kill(self) -> None:
        """kill -9, now."""
        if self.life is not None:
            self.life.end()

    async def _run(self, life: Life) -> None:
        try:
            await self.doing(self)
        except Exception as crash:  # noqa: BLE001 a process that ends by itself is a finding
            self.crashes.append(_place(crash))
            self.told(self.name, f"CRASHES: {_place(crash)}")
            life.end()

    def _ended(self) -> None:
        self.told(self.name, f"is gone after {self.life.steps if self.life else 0} steps")
        self.app = None
        for answered in self._open:
            if not answered.done():
                answered.set_exception(Cut())
        self._open.clear()
        self.loop.call_later(self.restart_after(), self.start, context=OUTSIDE)

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """The answer to one request. Raises Refused or Cut."""
        if self.app is None or self.life is None or self.life.dead:
            raise Refused
        ready(self.app, method, urlsplit(url).path)
        answered: asyncio.Future[tuple[int, bytes]] = self.loop.create_future()
        self._open.add(answered)
        serving = _serve(self.app, _scope(method, url, headers), body, answered)
        self.tasks.append(self.loop.create_task(serving, context=self.life.context()))
        try:
            return await answered
        finally:
            self._open.discard(answered)


async def serve(program: Program) -> None:
    """What a service does as a process."""
    build: BuildService = import_module(f"services.{program.name}.service").build
    process, server = assemble_process(build, program.settings, program.now, program.platform)
    program.app = server.config.app
    program.keepers, program.emits = process.timers._keepers, process.service.emits
    for keeper in program.keepers.values():
        keeper.machine = replace(keeper.machine, decide=_failing(program, keeper.machine.decide))
    await process.run(_Serving())  # type: ignore[arg-type]


def _failing(program: Program, decide: Callable[..., tuple[Event, ...]]) -> Callable[..., tuple[Event, ...]]:
    def fails(state: Any, message: Message, now: datetime) -> tuple[Event, ...]:
        if isinstance(message, DeadlinePassed) and str(message.case) == program.poisoned:
            raise ArithmeticError
        return decide(state, message, now)

    return fails


async def audit(program: Program) -> None:
    """What the auditor does as a process."""
    watching = auditor.build(program.settings, program.platform, program.now)
    program.app = auditor._server(watching, program.settings).config.app
    await watching.run()


def _scope(method: str, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("simulated", 1),
        "server": ("simulated", 80),
    }


async def _serve(app: App, scope: dict[str, Any], body: bytes, answered: "asyncio.Future[tuple[int, bytes]]") -> None:
    asked, status, parts = [body], 500, []

    async def receive() -> dict[str, Any]:
        if asked:
            return {"type": "http.request", "body": asked.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    if not answered.done():
        answered.set_result((status, b"".join(parts)))


def _place(crash: BaseException) -> str:
    while isinstance(crash, BaseExceptionGroup):
        crash = crash.exceptions[0]
    trace, where = crash.__traceback__, []
    while trace is not None:
        where.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(crash).__name__} {crash} at {' < '.join(reversed(where[-5:]))}"


Answering = Callable[[httpx.Request, bytes], Any]


class Wire(httpx.AsyncBaseTransport):
    """The way from a process to other machines, by their host names."""

    def __init__(self, hosts: Mapping[str, Answering]) -> None:
        self._hosts = hosts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, or what httpx raises when there is none."""
        asked = self._hosts.get(request.url.host)
        if asked is None:
            raise httpx.ConnectError("nobody of that name", request=request)
        loop = asyncio.get_running_loop()
        response: asyncio.Future[httpx.Response] = loop.create_future()
        body = await request.aread()
        # The other side goes on with what it was sent, whatever becomes of who sent it.
        answering = loop.create_task(_answer(asked, request, body, response), context=OUTSIDE.copy())
        ANSWERING.append(answering)
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
                return await response
        except TimeoutError:
            raise httpx.ReadTimeout("silence", request=request) from None


ANSWERING: list[Any] = []


async def _answer(asked: Answering, request: httpx.Request, body: bytes, response: Any) -> None:
    try:
        answer = await asked(request, body)
    except httpx.TransportError as failure:
        if not response.done():
            response.set_exception(failure)
    else:
        if not response.done():
            response.set_result(answer)
