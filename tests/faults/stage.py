"""The system as the faults need it: services that can be made to die, wires that can be spoilt, desks gone bad."""

import json
import resource
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import httpx
import yaml

from deploy.cli.client import Whereabouts
from deploy.local import kafka, supervisor, topics
from deploy.local.desk_behaviour import Behaviour
from deploy.local.ports import HOST, free
from deploy.local.supervisor import Program, Step, answers_ready
from deploy.local.system import DESKS, SERVICES, Items, Plan, Running, system
from tests.faults.certificates import Authority
from tests.faults.gates import Gates
from tests.faults.logs import Folder
from tests.faults.proxy import Proxy, Wire, proxied

CITY = "140700"
POLICE, AMBULANCE = DESKS["desk_110"], DESKS["desk_120"]
AT_ONCE = Behaviour(answer="at_once")
REPLACED = frozenset({"kafka", "topics", "collector"})
"""Programs that a stage starts otherwise, or not at all: nobody reads its traces."""


@dataclass(frozen=True)
class BadDesk:
    """A desk of the city that is not as it should be: by its own behaviour, by its wire, by its secret or its TLS."""

    kind: str
    words: str
    wire: Wire = Wire.WHOLE
    behaviour: Behaviour = AT_ONCE
    knows_secret: bool = True
    tls: str = ""

    @property
    def desk(self) -> str:
        return f"{CITY}-{self.kind}"


@dataclass(frozen=True)
class Shape:
    """What a stage has: how many brokers, which bad desks, a second adapter, proxies before the store and Kafka."""

    name: str
    brokers: int = 1
    bad: tuple[BadDesk, ...] = ()
    twin: bool = False
    wired: bool = False


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

    async def heal(self, bad: BadDesk) -> None:
        """A bad desk becomes good, but for what it does not know."""
        await self.wires[bad.desk].behave(Wire.WHOLE)
        control = (self.running.state / "desks" / bad.desk / "control.url").read_text().strip()
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            await client.post(f"{control}/behaviour", json=AT_ONCE.model_dump(mode="json"))

    def fill_disk(self, name: str, room: int) -> None:
        """From now on no file of this program may grow beyond `room` bytes; -1 takes the limit back."""
        pid = self.running.pids[name]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, hard))


@asynccontextmanager
async def stage(state: Path, shape: Shape) -> AsyncIterator[Stage]:
    """Everything up; what the faults of one shape share."""
    supervisor.STEADY_AFTER = 0.0  # what a fault ends is started again at once, however often
    told = state / "told"
    told.mkdir(parents=True, exist_ok=True)
    gates, made = Gates(), Made(shape, told)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(system(state, items=lambda plan: gates.items(made.items(plan))))
        await stack.enter_async_context(proxied(*made.wires.values()))
        yield Stage(running, shape, told, made.bootstrap, gates, made.wires)


@dataclass
class Made:
    """The system's programs as this shape has them."""

    shape: Shape
    told: Path
    wires: dict[str, Proxy] = field(default_factory=dict)
    bootstrap: str = ""
    _taken: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.authority = Authority.made(self.told / "tls")

    def items(self, plan: Plan) -> Items:
        """Called once, after the packs are laid and before anything starts."""
        self._taken.update(asdict(plan.ports).values())
        self._lay_wires(plan)
        brokers = self._brokers(plan)
        items = [self._service(plan, item) for item in plan.items() if item.name not in REPLACED]
        return (*brokers, *items, *self._crowd(plan), *self._twin(plan))

    def _free(self, count: int) -> list[int]:
        """Ports that nobody listens on, nor will."""
        found = [port for port in free(count + len(self._taken)) if port not in self._taken][:count]
        self._taken.update(found)
        return found

    def _lay_wires(self, plan: Plan) -> None:
        """The good desks behind wires that can be spoilt, the bad ones behind wires that are."""
        pack = plan.state / "cities" / f"{CITY}.yaml"
        city = yaml.safe_load(pack.read_text(encoding="utf-8"))
        ports = {POLICE: plan.ports.desk_110, AMBULANCE: plan.ports.desk_120}
        for desk, port in ports.items():
            self.wires[desk] = Proxy(self._free(1)[0], port)
            city["desks"][desk]["wire"]["url"] = f"http://{HOST}:{self.wires[desk].port}/callouts"
        for bad in self.shape.bad:
            city["desks"][bad.desk] = self._entry(bad)
        pack.write_text(yaml.safe_dump(city, allow_unicode=True, sort_keys=False), encoding="utf-8")

    def _entry(self, bad: BadDesk) -> Mapping[str, object]:
        near, target = self._free(2)
        tls = self.authority.context(bad.tls) if bad.tls else None
        self.wires[bad.desk] = Proxy(near, target, bad.wire, tls=tls)
        url = f"http{'s' if tls else ''}://{HOST}:{near}/callouts"
        wire = {"kind": "webhook", "url": url, "secret_env": "JINGYI_SECRET_140700_110"}
        return {"name": bad.words, "name_en": bad.words, "number": f"0354{bad.kind}", "wire": wire}

    def _service(self, plan: Plan, item: Program | Step) -> Program | Step:
        if not isinstance(item, Program):
            return item
        told = {"JINGYI_TOLD": str(self.told), "JINGYI_OTLP": "", "JINGYI_KAFKA": self.bootstrap}
        told = {**told, "SSL_CERT_FILE": str(self.authority.path)}
        if item.name in DESKS:
            return replace(item, needs=(), env={**item.env, "JINGYI_DESK_BEHAVIOUR": AT_ONCE.model_dump_json()})
        if item.name not in SERVICES:
            return item
        argv = (sys.executable, "-m", "tests.faults.crashing", item.name)
        return replace(
            item, argv=argv, needs=("valkey", "topics"), env={**item.env, **told, "JINGYI_KAFKA": self.bootstrap}
        )

    def _brokers(self, plan: Plan) -> Items:
        ports = [plan.ports.kafka, plan.ports.kafka_controller, *self._free(2 * (self.shape.brokers - 1))]
        seats = [kafka.Seat(*pair) for pair in zip(ports[::2], ports[1::2], strict=True)]
        cluster = kafka.planned(plan.state / "kafka", seats, plan.state / "logs")
        self.bootstrap = cluster.bootstrap
        names = ("kafka", "kafka_2", "kafka_3")
        programs = [
            Program(name, broker.argv, broker.ready, port=broker.port, prepare=broker.prepare)
            for name, broker in zip(names, cluster.brokers, strict=False)
        ]

        async def settle() -> None:
            await topics.settle(cluster.bootstrap, replicas=cluster.replicas)

        return (*programs, Step("topics", settle, needs=tuple(program.name for program in programs)))

    def _crowd(self, plan: Plan) -> Items:
        if not self.shape.bad:
            return ()
        [port] = self._free(1)
        secret = plan.secrets.desk_secrets["JINGYI_SECRET_140700_110"]
        other = plan.secrets.desk_secrets["JINGYI_SECRET_140700_120"]
        desks = [
            {
                "desk": bad.desk,
                "port": self.wires[bad.desk].target,
                "secret": secret if bad.knows_secret else other,
                "state": str(plan.state / "desks" / bad.desk),
                "behaviour": bad.behaviour.model_dump(mode="json"),
            }
            for bad in self.shape.bad
        ]
        env = {"JINGYI_CROWD": json.dumps(desks), "JINGYI_PORT": str(port)}
        return (Program("crowd", (sys.executable, "-m", "tests.faults.crowd"), answers_ready(port), (), env, port),)

    def _twin(self, plan: Plan) -> Items:
        """A second adapter, ready to take over from the first."""
        if not self.shape.twin:
            return ()
        [port] = self._free(1)
        first = self._service(plan, plan.program("responder_adapter", "", ("valkey", "topics")))
        assert isinstance(first, Program)
        env = {**first.env, "JINGYI_PORT": str(port), "JINGYI_INSTANCE": "2", "JINGYI_TOLD": str(self.told / "twin")}
        return (replace(first, name="responder_adapter_2", env=env, port=port, ready=answers_ready(port)),)
