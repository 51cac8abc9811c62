"""Real Kafka on this machine: one broker, or three that replicate, each a process of its own."""

import asyncio
import base64
import os
import signal
import struct
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from deploy.local import jars, java
from deploy.local.ports import HOST, answers, free
from deploy.local.process import Process
from deploy.local.trouble import Trouble

HEAP = "-Xmx384m"
LOGGING = Path(__file__).with_name("kafka-log4j2.properties")
READY_WITHIN = 60.0


@dataclass(frozen=True)
class Seat:
    """Where one broker listens: for clients, and for its fellow controllers."""

    broker: int
    controller: int


@dataclass
class Broker:
    """One node; it may be stopped, killed, paused and started again while the others go on."""

    node: int
    folder: Path
    seats: Sequence[Seat]
    log: Path
    process: Process | None = None

    @property
    def port(self) -> int:
        return self.seats[self.node - 1].broker

    @property
    def settings(self) -> Path:
        return self.folder / "server.properties"

    @property
    def argv(self) -> list[str]:
        return command("kafka.Kafka", str(self.settings))

    async def prepare(self) -> None:
        """Write its settings; format its storage where that was never done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings.write_text(properties(self.node, self.seats, self.folder / "log"))
        if (self.folder / "log" / "meta.properties").exists():
            return
        cluster = cluster_id(self.folder.parent)
        arguments = ("format", "--cluster-id", cluster, "--config", str(self.settings), "--ignore-formatted")
        tool = await Process.start("kafka storage", command("kafka.tools.StorageTool", *arguments), log=self.log)
        try:
            if await tool.wait() != 0:
                raise Trouble(f"Kafka's storage could not be formatted: {tool.last_words()}")
        finally:
            await tool.stop()

    async def ready(self) -> bool:
        """It accepts connections and knows of as many brokers as there are."""
        return await answers(self.port) and await members(f"{HOST}:{self.port}") == len(self.seats)

    async def start(self) -> None:
        self.process = await Process.start(f"kafka {self.node}", self.argv, log=self.log)

    async def until_ready(self) -> None:
        if self.process:
            await self.process.until_ready(self.ready, READY_WITHIN)

    async def stop(self) -> None:
        if self.process:
            await self.process.stop()

    async def kill(self) -> None:
        if self.process:
            self.process.signal(signal.SIGKILL)
            await self.process.wait()

    def pause(self) -> None:
        if self.process:
            self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self.process:
            self.process.signal(signal.SIGCONT)


@dataclass(frozen=True)
class Cluster:
    brokers: tuple[Broker, ...]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{HOST}:{broker.port}" for broker in self.brokers)

    @property
    def replicas(self) -> int:
        return len(self.brokers)


def planned(folder: Path, seats: Sequence[Seat], logs: Path | None = None) -> Cluster:
    """The brokers as they would be, none of them started."""
    home = logs or folder
    nodes = range(1, len(seats) + 1)
    return Cluster(tuple(Broker(n, folder / f"node-{n}", seats, home / f"kafka-{n}.log") for n in nodes))


@asynccontextmanager
async def kafka(folder: Path, *, nodes: int = 1, seats: Sequence[Seat] = ()) -> AsyncIterator[Cluster]:
    """A running Kafka whose state is in `folder`; on free ports unless `seats` names them."""
    if not seats:
        ports = free(2 * nodes)
        seats = [Seat(*pair) for pair in zip(ports[::2], ports[1::2], strict=True)]
    cluster = planned(folder, seats)
    try:
        for broker in cluster.brokers:
            await broker.prepare()
            await broker.start()
        for broker in cluster.brokers:
            await broker.until_ready()
        yield cluster
    finally:
        # At once: a lone survivor of three would wait for a quorum before it ends.
        await asyncio.gather(*(broker.stop() for broker in cluster.brokers))


def command(main: str, *arguments: str, training: Path | None = None) -> list[str]:
    runtime = java.find()
    cache = runtime.start_cache
    flags = [HEAP, "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable"]
    if training:
        flags.append(f"-XX:AOTCacheOutput={training}")
    elif cache and cache.exists():
        flags.append(f"-XX:AOTCache={cache}")
    return [
        *("env", "LC_ALL=C.UTF-8"),  # else Java cannot name a file whose path is not ASCII
        str(runtime.path),
        *flags,
        f"-Dlog4j2.configurationFile={LOGGING.as_uri()}",
        "-cp",
        jars.class_path(),
        main,
        *arguments,
    ]


def properties(node: int, seats: Sequence[Seat], log: Path) -> str:
    if "," in str(log):  # Kafka takes a list of folders, and knows no way to write a comma in one
        raise Trouble(
            f"Kafka 不能使用路径含逗号的文件夹 {log.parent}：请换一个位置，或用 JINGYI_STATE 指定。\n"
            f"Kafka cannot keep data in a folder with a comma in its path ({log.parent}): "
            "choose another place, or name one by JINGYI_STATE."
        )
    seat, replicas = seats[node - 1], len(seats)
    voters = ",".join(f"{n}@{HOST}:{other.controller}" for n, other in enumerate(seats, 1))
    settings = {
        "process.roles": "broker,controller",
        "node.id": node,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{seat.broker},CONTROLLER://{HOST}:{seat.controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{seat.broker}",
        "log.dirs": log,
        "default.replication.factor": replicas,
        "min.insync.replicas": min(replicas, 2),
        "unclean.leader.election.enable": "false",
        "auto.create.topics.enable": "false",
        "broker.session.timeout.ms": 6000,
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": 262144,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": min(replicas, 2),
        "transaction.state.log.num.partitions": 2,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": min(replicas, 2),
        "share.coordinator.state.topic.num.partitions": 1,
        # One machine carries everything: few threads, small buffers.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    }
    return "".join(f"{name}={escaped(str(value))}\n" for name, value in settings.items())


def escaped(value: str) -> str:
    """As Java reads a property: what is not printable ASCII in UTF-16, a backslash twice."""
    plain = value.replace("\\", "\\\\")
    return "".join(one if one.isascii() and one.isprintable() else _in_utf16(one) for one in plain)


def _in_utf16(one: str) -> str:
    return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", one.encode("utf-16-be")))


def cluster_id(folder: Path) -> str:
    """Made once per state folder; its nodes share it."""
    kept = folder / "cluster-id"
    if not kept.exists():
        fresh = folder / f"cluster-id.{os.getpid()}"
        fresh.write_text(random_id())
        fresh.replace(kept)
    return kept.read_text()


def random_id() -> str:
    """As Kafka's own: one that begins with a dash would be read as an option of the storage tool."""
    made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return random_id() if made.startswith("-") else made


async def members(bootstrap: str) -> int:
    """How many brokers the one asked knows of, itself included."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return len(client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return 0
    finally:
        await client.close()
