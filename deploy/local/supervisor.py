"""Starts the programs of a system in the order of their needs, keeps them running, and leaves none behind."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from deploy.local.ports import HOST
from deploy.local.process import Process, Ready
from deploy.local.trouble import Trouble

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
STEADY_AFTER = 10.0

STARTS = 3
"""Of a program that ends before it was ever ready: on a busy host one time-out may have ended it."""

SETTINGS_DO_NOT_HOLD = 2
"""The exit code with which no other start would end otherwise."""


class State(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Program:
    """A process that is to be up for as long as the system is."""

    name: str
    argv: Sequence[str]
    ready: Ready
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    prepare: Callable[[], Awaitable[None]] | None = None
    within: float = 180.0


@dataclass(frozen=True)
class Step:
    """Something that is done once on the way."""

    name: str
    act: Callable[[], Awaitable[None]]
    needs: tuple[str, ...] = ()


@dataclass
class Standing:
    """How one of them stands now."""

    item: Program | Step
    state: State = State.WAITING
    restarts: int = 0
    process: Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """`told` hears of every change, with the standing that changed.

    A program that was up for `steady_after` seconds is started again after the first pause.
    """

    steady_after = STEADY_AFTER

    def __init__(
        self, items: Sequence[Program | Step], logs: Path, told: Callable[[Standing], None] = lambda _: None
    ) -> None:
        self.standings = {item.name: Standing(item) for item in items}
        self.logs = logs
        self.told = told
        self.guards: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when everything is ready; the first sentence of trouble if anything is not."""
        try:
            async with asyncio.TaskGroup() as group:
                for standing in self.standings.values():
                    group.create_task(self.bring_up(standing))
        except* Trouble as troubles:
            raise next(t for t in troubles.exceptions if isinstance(t, Trouble)) from None
        except* OSError as refusals:
            raise Trouble(f"A program could not be started: {refusals.exceptions[0]}.") from None

    async def bring_up(self, standing: Standing) -> None:
        for need in standing.item.needs:
            await self.standings[need].ready.wait()
        self.say(standing, State.STARTING)
        if isinstance(standing.item, Step):
            await standing.item.act()
            self.say(standing, State.DONE)
        else:
            await self.launch_first(standing, standing.item)
            self.guards.append(asyncio.create_task(self.guard(standing, standing.item)))
        standing.ready.set()

    async def launch_first(self, standing: Standing, program: Program) -> None:
        """As often as it may help. Trouble if it does not, or if the program lives and stays silent."""
        for _ in range(STARTS - 1):
            try:
                return await self.launch(standing, program)
            except Trouble:
                if not standing.process or standing.process.returncode in {None, SETTINGS_DO_NOT_HOLD}:
                    raise
            await asyncio.sleep(FIRST_PAUSE)
        return await self.launch(standing, program)

    async def launch(self, standing: Standing, program: Program) -> None:
        if program.prepare:
            await program.prepare()
        log = self.logs / f"{program.name}.log"
        standing.process = await Process.start(program.name, program.argv, log=log, env=program.env)
        self.say(standing, State.STARTING)
        await standing.process.until_ready(program.ready, program.within)
        self.say(standing, State.READY)

    async def guard(self, standing: Standing, program: Program) -> None:
        """Whenever it ends, start it again: at once at first, then less and less eagerly."""
        pause, clock = FIRST_PAUSE, asyncio.get_running_loop().time
        while standing.process:
            since = clock()
            await standing.process.wait()
            pause = FIRST_PAUSE if clock() - since > self.steady_after else pause
            standing.ready.clear()
            standing.restarts += 1
            self.say(standing, State.RESTARTING)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with suppress(Trouble):  # its log has the reason; the next round tries again
                await self.launch(standing, program)
                standing.ready.set()
                continue
            await standing.process.stop(grace=0)

    async def stop(self) -> None:
        """In reverse order of needs. Whatever happens here, every process is gone when this returns."""
        for guard in self.guards:
            guard.cancel()
        await asyncio.gather(*self.guards, return_exceptions=True)
        try:
            await asyncio.gather(*(self.take_down(standing) for standing in self.standings.values()))
        finally:
            for process in [s.process for s in self.standings.values() if s.process]:
                process.signal(signal.SIGKILL)

    async def take_down(self, standing: Standing) -> None:
        for other in self.standings.values():
            if standing.item.name in other.item.needs:
                await other.stopped.wait()
        if standing.process:
            await standing.process.stop()
            self.say(standing, State.STOPPED)
        standing.stopped.set()

    def say(self, standing: Standing, state: State) -> None:
        standing.state = state
        self.told(standing)


def answers_ready(port: int, path: str = "/health/ready") -> Ready:
    """Ready when GET `path` says 200."""

    async def ready() -> bool:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                    return b" 200" in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    return ready
