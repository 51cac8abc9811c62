"""The programs of a stage: the system's own, made so that a fault can get at them, and the desks that are bad."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import yaml

from deploy.cli.client import INTAKE
from deploy.local import kafka, topics
from deploy.local.desk_behaviour import Behaviour
from deploy.local.ports import HOST, free
from deploy.local.supervisor import Program, Step, answers_ready
from deploy.local.system import DESKS, SERVICES, Items, Plan
from tests.faults.certificates import Authority
from tests.faults.proxy import Proxy, Wire

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
    """What a stage has: how many brokers, which bad desks, a second adapter, proxies before the store and Kafka.

    `compared`: store and log are compared at its end. `descriptors`: as many as intake may have, if not all.
    """

    name: str
    brokers: int = 1
    bad: tuple[BadDesk, ...] = ()
    twin: bool = False
    wired: bool = False
    compared: bool = True
    descriptors: int = 0


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
        return (Step("wires", self.open), *brokers, *items, *self._crowd(plan), *self._twin(plan))

    async def open(self) -> None:
        """Every wire, each as it is to be."""
        for proxy in self.wires.values():
            await proxy.behave(proxy.how)

    async def close(self) -> None:
        for proxy in self.wires.values():
            await proxy.close()

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
        if self.shape.wired:
            self.wires |= {f"valkey of {name}": Proxy(self._free(1)[0], plan.ports.valkey) for name in SERVICES}
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
        if not item.argv[-1].startswith("services."):
            return item
        if self.shape.wired and item.name in SERVICES:
            told["JINGYI_REDIS_URL"] = f"redis://{HOST}:{self.wires[f'valkey of {item.name}'].port}/0"
        argv = (sys.executable, "-m", "tests.faults.crashing", item.name) if item.name in SERVICES else item.argv
        if self.shape.descriptors and item.name == INTAKE:
            argv = ("/bin/sh", "-c", f'ulimit -n {self.shape.descriptors}; exec "$@"', "sh", *argv)
        needs = ("wires", *(need for need in item.needs if need != "collector"))
        return replace(item, argv=argv, needs=needs, env={**item.env, **told})

    def _brokers(self, plan: Plan) -> Items:
        ports = [plan.ports.kafka, plan.ports.kafka_controller, *self._free(2 * (self.shape.brokers - 1))]
        seats = [kafka.Seat(*pair) for pair in zip(ports[::2], ports[1::2], strict=True)]
        cluster = kafka.planned(plan.state / "kafka", seats, plan.state / "logs")
        self.bootstrap = cluster.bootstrap
        if self.shape.wired:
            self.wires["kafka"] = Proxy(self._free(1)[0], seats[0].broker)
            self.bootstrap = f"{HOST}:{self.wires['kafka'].port}"
        names = ("kafka", "kafka_2", "kafka_3")
        programs = [
            Program(name, broker.argv, broker.ready, port=broker.port, prepare=self._advertised(broker))
            for name, broker in zip(names, cluster.brokers, strict=False)
        ]

        async def settle() -> None:
            await topics.settle(cluster.bootstrap, replicas=cluster.replicas)

        return (*programs, Step("topics", settle, needs=tuple(program.name for program in programs)))

    def _advertised(self, broker: kafka.Broker) -> Callable[[], Awaitable[None]]:
        """Its settings, with its clients sent to the proxy where there is one."""

        async def prepare() -> None:
            await broker.prepare()
            if self.shape.wired:
                settings, own = broker.settings.read_text(), f"PLAINTEXT://{HOST}:{broker.port}"
                there = f"advertised.listeners=PLAINTEXT://{self.bootstrap}"
                broker.settings.write_text(settings.replace(f"advertised.listeners={own}", there))

        return prepare

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
        module = "services.responder_adapter"
        first = self._service(plan, plan.program("responder_adapter", module, ("valkey", "topics")))
        assert isinstance(first, Program)
        env = {**first.env, "JINGYI_PORT": str(port), "JINGYI_INSTANCE": "2", "JINGYI_TOLD": str(self.told / "twin")}
        return (replace(first, name="responder_adapter_2", env=env, port=port, ready=answers_ready(port)),)
