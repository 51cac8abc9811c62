"""What the tests of the kernel do over and over: ask, give, and listen to what was said."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from pydantic import SecretStr

from deploy.local.kafka import Cluster
from deploy.local.ports import HOST, free
from deploy.local.process import Process
from shared.kernel.clock import now
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.process.settings import Settings
from tests.kernel.tally.service import Counted, Given
from tests.support.eventually import eventually

CITY = "140700"
PEERS = {name: SecretStr(f"peer-{name}") for name in ("giver", "hearer", "tally")}
Header = tuple[str, bytes | None]


async def ready(client: httpx.AsyncClient, *statuses: str) -> None:
    async def so() -> bool:
        try:
            return (await client.get("/health/ready")).json()["status"] in (statuses or ("ready",))
        except httpx.TransportError:
            return False

    await eventually(so)


async def alive(client: httpx.AsyncClient) -> None:
    """It answers, whatever it still lacks."""

    async def so() -> bool:
        try:
            return (await client.get("/health/live")).is_success
        except httpx.TransportError:
            return False

    await eventually(so)


async def add(client: httpx.AsyncClient, case: UUID, amount: int, key: str, **more: Any) -> httpx.Response:
    return await client.post(
        f"/cities/{CITY}/tallies/{case}/additions",
        json={"case": str(case), "city": CITY, "amount": amount, **more},
        headers={"idempotency-key": key},
    )


async def total(client: httpx.AsyncClient, case: UUID) -> int:
    return int((await client.get(f"/cities/{CITY}/tallies/{case}")).json()["total"])


@asynccontextmanager
async def stopped(broker: Cluster) -> AsyncIterator[None]:
    """The broker is dead inside, and up again after."""
    await broker.brokers[0].kill()
    try:
        yield
    finally:
        await broker.brokers[0].start()
        await broker.brokers[0].until_ready()


@asynccontextmanager
async def mouth(brokers: str) -> AsyncIterator[Any]:
    """A producer of our own."""
    producer = KafkaBus(brokers).producer()
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def headers(event_id: str | None = None) -> list[Header]:
    named = {"ce_type": Given.type_name(), "ce_id": event_id or str(uuid4()), "ce_source": "/jingyi/giver"}
    return [(name, text.encode()) for name, text in named.items()]


async def give(producer: Any, case: UUID, amount: int, event_id: str | None = None, *more: Header) -> Any:
    event = Given(case=case, city=CITY, at=now(), amount=amount)
    value, key = event.model_dump_json().encode(), str(case).encode()
    return await producer.send_and_wait("tally.given", value, key=key, headers=[*headers(event_id), *more])


async def said(brokers: str, topic: str, enough: Callable[[list[Any]], bool], within: float = 20) -> list[Any]:
    """Every record of a topic from its beginning, as soon as they are enough."""
    reader = KafkaBus(brokers).reader(topic)
    await reader.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(within):
            while not enough(found):
                for records in (await reader.getmany(timeout_ms=200)).values():
                    found += records
    finally:
        await reader.stop()
    return found


async def whole(brokers: str, *topics: str) -> list[Any]:
    """Every record that these topics have now."""
    reader = KafkaBus(brokers).reader(*topics)
    await reader.start()
    try:
        ends = await reader.end_offsets(reader.assignment())
        found: list[Any] = []
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            found += [record for records in (await reader.getmany(timeout_ms=200)).values() for record in records]
        return found
    finally:
        await reader.stop()


def about(records: list[Any], *cases: UUID) -> list[Any]:
    keys = {str(case).encode() for case in cases}
    return [record for record in records if record.key in keys]


def once(records: list[Any]) -> list[Any]:
    """Each event once, where it was first: what a consumer that knows ids makes of them."""
    return list({header(record, "ce_id"): record for record in reversed(records)}.values())[::-1]


def totals(records: list[Any]) -> list[int]:
    return [Counted.model_validate_json(r.value).total for r in records if header(r, "ce_type") == Counted.type_name()]


async def counted(brokers: str, case: UUID, last: int, within: float = 20) -> list[Any]:
    """What was said of a case, once its count has come to `last`."""
    found = await said(brokers, "tally.counted", lambda records: last in totals(about(records, case)), within)
    return about(found, case)


def header(record: Any, name: str) -> str | None:
    return next((value.decode() for key, value in record.headers if key == name and value is not None), None)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """These settings as the environment of a process."""
    return {
        "JINGYI_REDIS_URL": settings.redis_url,
        "JINGYI_KAFKA": settings.kafka,
        "JINGYI_PORT": str(settings.port),
        "JINGYI_MASTER_KEYS": str(settings.master_keys),
        "JINGYI_CITIES": str(settings.cities),
        "JINGYI_PEER_TOKENS": json.dumps({name: token.get_secret_value() for name, token in PEERS.items()}),
        **more,
    }


@asynccontextmanager
async def process(settings: Settings, log: Path, env: Mapping[str, str]) -> AsyncIterator[Process]:
    """The tally as a process of its own, which may be killed."""
    started = await Process.start("tally", [sys.executable, "-m", "tests.kernel.tally"], log=log, env=env)
    try:
        yield started
    finally:
        await started.stop()


@asynccontextmanager
async def deaf(redis_url: str) -> AsyncIterator[tuple[str, Callable[[bool], None]]]:
    """A way to the store on which requests arrive, and replies only while it hears; else the connection breaks."""
    port, hearing = free(1)[0], [True]
    host, _, rest = redis_url.removeprefix("redis://").partition(":")
    there, _, database = rest.partition("/")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool) -> None:
        with suppress(ConnectionError):
            while (block := await reader.read(65_536)) and (hearing[0] or not replies):
                writer.write(block)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_store, to_store = await asyncio.open_connection(host, int(there))
        await asyncio.gather(carry(reader, to_store, False), carry(from_store, writer, True))

    async with await asyncio.start_server(serve, HOST, port):
        yield f"redis://{HOST}:{port}/{database}", lambda on: hearing.__setitem__(0, on)
