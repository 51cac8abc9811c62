"""The local system as data: which programs it has, what each needs and is told; and the running of it."""

import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local import credentials, kafka, packs, record, topics, valkey
from deploy.local.ports import HOST, Ports
from deploy.local.supervisor import Program, Standing, Step, Supervisor, answers_ready
from deploy.local.trouble import Trouble, explain

SERVICES = ("hotline_intake", "risk_assessment", "dispatch", "responder_adapter")
DESKS = {"desk_110": "140700-110", "desk_120": "140700-120"}
AUDITOR = "auditor"
RINGING = ("hotline_intake", AUDITOR)
"""Who tells people outside."""

Items = Sequence[Program | Step]


@dataclass
class Plan:
    """What a system would be, before anything starts."""

    state: Path
    ports: Ports
    secrets: credentials.Credentials

    @property
    def kafka(self) -> str:
        return f"{HOST}:{self.ports.kafka}"

    @property
    def redis_url(self) -> str:
        return f"redis://{HOST}:{self.ports.valkey}/0"

    @property
    def urls(self) -> dict[str, str]:
        ports = asdict(self.ports)
        return {name: f"http://{HOST}:{ports[name]}" for name in (*SERVICES, AUDITOR, *DESKS, "channel", "collector")}

    def environment(self, name: str) -> dict[str, str]:
        """All that the program called `name` is told."""
        return {
            "JINGYI_ENV": "development",
            "JINGYI_REDIS_URL": self.redis_url,
            "JINGYI_KAFKA": self.kafka,
            "JINGYI_HOST": HOST,
            "JINGYI_PORT": str(asdict(self.ports)[name]),
            "JINGYI_CITIES": str(self.state / "cities"),
            "JINGYI_MASTER_KEYS": str(self.secrets.master_keys),
            "JINGYI_INSTANCE": "1",
            "JINGYI_JOURNAL": str(self.state / "journal"),
            "JINGYI_API_TOKEN": self.secrets.api_token,
            "JINGYI_PEER_TOKENS": json.dumps(self.secrets.peer_tokens),
            "JINGYI_DOORS": json.dumps({peer: self.urls[peer] for peer in (*SERVICES, AUDITOR) if peer != name}),
            "JINGYI_OTLP": self.urls["collector"],
            "JINGYI_STATE": str(self.state),
            "PYTHONUNBUFFERED": "1",
            **{f"JINGYI_URL_{service.upper()}": self.urls[service] for service in (*SERVICES, AUDITOR)},
            **self.secrets.desk_secrets,
            **(self.desk_environment(DESKS[name]) if name in DESKS else {}),
            **(packs.channels(self.ports) if name in RINGING else {}),
            **({"JINGYI_CHANNEL_STATE": str(self.state / "channel")} if name == "channel" else {}),
        }

    def desk_environment(self, desk: str) -> dict[str, str]:
        return {
            "JINGYI_DESK": desk,
            "JINGYI_SECRET": self.secrets.desk_secrets[credentials.secret_variable(desk)],
            "JINGYI_DESK_STATE": str(self.state / "desks" / desk),
        }

    def program(self, name: str, module: str, needs: tuple[str, ...] = ()) -> Program:
        port = asdict(self.ports)[name]
        argv = (sys.executable, "-m", module)
        return Program(name, argv, answers_ready(port), needs, self.environment(name), port)

    def items(self) -> Items:
        return (
            *self.platform(),
            self.program("collector", "deploy.local.collector"),
            *(self.program(name, f"services.{name}", ("valkey", "topics", "collector")) for name in SERVICES),
            self.program(AUDITOR, "services.auditor", ("topics", "collector")),
            *(self.program(name, "deploy.local.desk", ("collector",)) for name in DESKS),
            self.program("channel", "deploy.local.channel"),
        )

    def platform(self) -> Items:
        """Valkey, and Kafka with its topics."""
        store = valkey.Valkey(self.ports.valkey, self.state / "valkey", self.state / "logs" / "valkey.log")
        seats = (kafka.Seat(self.ports.kafka, self.ports.kafka_controller),)
        [broker] = kafka.planned(self.state / "kafka", seats, self.state / "logs").brokers
        return (
            Program("valkey", store.argv, store.ready, port=store.port, prepare=store.prepare),
            Program("kafka", broker.argv, broker.ready, port=broker.port, prepare=broker.prepare),
            Step("topics", self.settle_topics, needs=("kafka",)),
        )

    async def settle_topics(self) -> None:
        found = await topics.settle(self.kafka)
        if found:
            named = "; ".join(map(str, found))
            raise Trouble(f"Kafka's {named}. Change it back, or start afresh with `make clean`.")


@dataclass
class Running:
    """A system that is up. `kill` is what a fault does; the supervisor then starts the program again."""

    plan: Plan
    supervisor: Supervisor
    took: float
    """Seconds until everything was ready."""

    @property
    def state(self) -> Path:
        return self.plan.state

    @property
    def urls(self) -> dict[str, str]:
        return self.plan.urls

    @property
    def kafka(self) -> str:
        return self.plan.kafka

    @property
    def redis_url(self) -> str:
        return self.plan.redis_url

    @property
    def api_token(self) -> str:
        return self.plan.secrets.api_token

    @property
    def pids(self) -> dict[str, int]:
        return {name: s.pid for name, s in self.supervisor.standings.items() if s.pid}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        standing = self.supervisor.standings[name]
        if standing.process is None:
            raise Trouble(f"{name} is no running program; there are {', '.join(self.pids)}.")
        standing.ready.clear()
        standing.process.signal(number)

    async def until_ready(self, name: str) -> None:
        await self.supervisor.standings[name].ready.wait()


@asynccontextmanager
async def system(
    state: Path,
    ports: Ports | None = None,
    *,
    items: Callable[[Plan], Items] = Plan.items,
    told: Callable[[Standing], None] = lambda _: None,
) -> AsyncIterator[Running]:
    """Everything, up and ready, with its data in `state`; free ports unless given. AlreadyRunning when it is in use."""
    with record.held(state):
        plan = prepared(state, ports or Ports.free())

        def noted(standing: Standing) -> None:
            record.write(state, plan.urls, supervisor.standings)
            told(standing)

        supervisor = Supervisor(items(plan), state / "logs", noted)
        try:
            begun = time.monotonic()
            await supervisor.start()
            yield Running(plan, supervisor, time.monotonic() - begun)
        finally:
            await supervisor.stop()


def prepared(state: Path, ports: Ports) -> Plan:
    """Everything that can be wrong before the first process starts is found here."""
    ports.check()
    try:
        state.chmod(0o700)
        shelve(state / "logs")
        packs.lay(state / "cities", ports)
        return Plan(state, ports, credentials.kept(state, tuple(DESKS.values()), (*SERVICES, AUDITOR)))
    except OSError as refusal:
        raise Trouble(explain(refusal, f"preparing {state}")) from refusal


def shelve(logs: Path) -> None:
    """Each run's logs start empty; the run before is kept beside them."""
    logs.mkdir(parents=True, exist_ok=True)
    before = logs.with_name("logs.before")
    shutil.rmtree(before, ignore_errors=True)
    logs.rename(before)
    logs.mkdir()
