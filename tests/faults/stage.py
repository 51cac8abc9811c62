"""The system as the faults need it: services that can be made to die, wires that can be spoilt, desks gone bad."""

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.cli.client import Whereabouts
from deploy.local.system import SERVICES, Running, system
from tests.faults.gates import Gates
from tests.faults.logs import Folder
from tests.faults.programs import AT_ONCE, BadDesk, Made, Shape
from tests.faults.proxy import Proxy, Wire


@dataclass
class Stage:
    """A system that is up, and everything that can be done to it."""

    running: Running
    shape: Shape
    told: Path
    kafka: str
    gates: Gates
    wires: dict[str, Proxy] = field(default_factory=dict)
    fault: str = ""

    @property
    def folder(self) -> Folder:
        return Folder(self.running.state)

    @property
    def where(self) -> Whereabouts:
        return Whereabouts(self.running.urls, self.kafka, self.running.api_token)

    def plant(self, service: str, step: str, nth: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Have a service end, or freeze, at the nth time that this step comes from now on."""
        bomb = {"step": step, "nth": nth, "signal": int(number)}
        (self.told / f"{service}.bomb").write_text(json.dumps(bomb))
        self.signal(service, signal.SIGUSR1)

    def skew(self, service: str, seconds: float) -> None:
        """Shift the wall clock of a service."""
        (self.told / f"{service}.skew").write_text(str(seconds))
        self.signal(service, signal.SIGUSR1)

    def lag(self, service: str) -> float:
        """The longest time that its event loop stood still since its start, in seconds."""
        noted = self.told / f"{service}.lag"
        return float(noted.read_text() or 0) if noted.exists() else 0.0

    def signal(self, name: str, number: signal.Signals) -> None:
        process = self.running.supervisor.standings[name].process
        assert process is not None
        process.signal(number)

    async def spoil(self, how: Wire, seconds: float, *wires: str, latency: float = 0.0) -> None:
        """These wires are like that for a while; `latency` in seconds."""
        for wire in wires:
            await self.wires[wire].behave(how, latency)
        await asyncio.sleep(seconds)
        for wire in wires:
            await self.wires[wire].behave(Wire.WHOLE)

    async def rest(self) -> None:
        """Have every service finish what it has and stop; the platform stays."""
        standings = self.running.supervisor.standings
        services = [name for name in standings if name in SERVICES or name.startswith("responder")]
        for name in services:
            self.gates.shut(name)
            self.running.kill(name, signal.SIGTERM)
        for process in [standings[name].process for name in services]:
            if process is not None:
                await process.wait()

    async def heal(self, bad: BadDesk) -> None:
        """A bad desk becomes good, but for what it does not know."""
        await self.wires[bad.desk].behave(Wire.WHOLE)
        control = (self.running.state / "desks" / bad.desk / "control.url").read_text().strip()
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            await client.post(f"{control}/behaviour", json=AT_ONCE.model_dump(mode="json"))

    def forget_lags(self) -> None:
        """Count anew for how long each event loop stands still."""
        for service in SERVICES:
            (self.told / f"{service}.lag").unlink(missing_ok=True)
            self.signal(service, signal.SIGUSR1)

    def fill_disk(self, name: str, room: int) -> None:
        """From now on no file of this program may grow beyond `room` bytes; -1 takes the limit back."""
        pid = self.running.pids[name]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))


@asynccontextmanager
async def stage(state: Path, shape: Shape) -> AsyncIterator[Stage]:
    """Everything up; what the faults of one shape share."""
    told = state / "told"
    told.mkdir(parents=True, exist_ok=True)
    gates, made = Gates(), Made(shape, told)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.close)
        running = await stack.enter_async_context(system(state, items=lambda plan: gates.items(made.items(plan))))
        running.supervisor.steady_after = 0.0  # what a fault ends is started again at once, however often
        yield Stage(running, shape, told, made.bootstrap, gates, made.wires)
