"""Whatever is wrong with a request, every route of every service says so in one way, and nothing is written."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from redis.asyncio import Redis
from uuid_utils import uuid7

from deploy.cli.client import ADAPTER, DISPATCH, INTAKE, Refused, call_path
from deploy.local import topics
from deploy.local.system import SERVICES
from shared.kernel.log.kafka import KafkaBus
from shared.kernel.machine.vault import KEYS_TOPIC
from tests.journeys.world import CITY, World

KNOWN = {"city": CITY, "desk": "140700-110", "n": "1"}
NEEDS_NO_BODY = re.compile(r"/(contact|claims)$")
TAKES_ANYTHING = re.compile(r"/escalations$|/calls/[^/]+$")
"""Doors at which a person in danger may stand: they refuse no body."""
UNSIGNED = "/desks/{desk}/reports"
PEERS = "/events"
NOT_STAFFS = {UNSIGNED, PEERS}
"""Doors that a staff token does not open."""

JSON = {"content-type": "application/json"}

BAD_BODIES: dict[str, tuple[bytes, set[str]]] = {
    "malformed": (b'{"a": ', {"malformed_json"}),
    "not even text": (b"\xff\xfe\x00", {"malformed_json"}),
    "a list": (b"[]", {"invalid"}),
    "a string": (b'"110"', {"invalid"}),
    "a number": (b"7", {"invalid"}),
    "an unknown field": (b'{"no_such_field": 1}', {"invalid"}),
    "wrong types": (b'{"answers": 1, "confidence": [], "desk": {}, "rung": 0, "outcome": null, "how": 3}', {"invalid"}),
    "one megabyte": (b'{"text": "' + b"x" * 1_000_000 + b'"}', {"too_large"}),
    "empty": (b"", {"invalid"}),
}


@dataclass(frozen=True)
class Route:
    """One door of one service."""

    service: str
    method: str
    path: str

    def at(self, **named: str) -> str:
        """Its address, with everything known but a case that nobody ever opened."""
        return self.path.format(**{**KNOWN, "case": str(uuid7()), **named})

    @property
    def takes_a_body(self) -> bool:
        return self.method in {"POST", "PUT"}


@dataclass(frozen=True)
class Asker:
    """Sends requests as they are, and holds every answer to the one form of a refusal."""

    world: World
    seen: list[str] = field(default_factory=list)

    async def refused(self, route: Route, path: str, body: bytes | None, **headers: str) -> tuple[int, str]:
        client = self.world.client
        shown = {"authorization": f"Bearer {client.where.token}", "x-actor": "seat-1", "idempotency-key": str(uuid4())}
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**shown, **JSON, **changed}.items() if value}
        url = client.where.urls[route.service] + path
        answered = await client.http.request(route.method, url, content=body, headers=sent)
        where = (
            f"{route.method} {route.service}{path} {(body or b'')[:40]!r}: {answered.status_code} {answered.text[:200]}"
        )
        assert 400 <= answered.status_code < 500, where
        return answered.status_code, problem(answered, where)


def problem(answered: httpx.Response, where: str) -> str:
    """The stable code of an RFC 9457 answer."""
    assert answered.headers["content-type"] == "application/problem+json", where
    told = answered.json()
    assert told["status"] == answered.status_code, where
    assert re.fullmatch(r"[a-z0-9_]+", told["code"]), where
    assert told["detail"], where
    return str(told["code"])


@pytest.fixture
async def routes(world: World) -> list[Route]:
    """Every route that any service publishes."""
    found = [route async for route in published(world)]
    assert len(found) > 20
    return found


async def published(world: World) -> AsyncIterator[Route]:
    for service in SERVICES:
        described = (await world.client.http.get(f"{world.where.urls[service]}/openapi.json")).json()
        for path, methods in described["paths"].items():
            for method in methods:
                yield Route(service, method.upper(), path)


@pytest_asyncio.fixture(scope="module", autouse=True)
async def undrilled(system: World) -> AsyncIterator[None]:
    """No drill writes beside us."""
    async with system.down("auditor"):
        assert await system.waiting_rows() == {}
        yield


@asynccontextmanager
async def nothing_written(world: World) -> AsyncIterator[None]:
    """Neither the store nor any topic is another afterwards; the marks that tell a store from its copy go on rising."""
    before = await written(world)
    yield
    assert await written(world) == before


async def written(world: World) -> dict[str, Any]:
    store = Redis.from_url(world.running.redis_url)
    reader = KafkaBus(world.running.kafka).reader()
    try:
        every_key: list[bytes] = [key async for key in store.scan_iter()]
        keys = sorted(key for key in every_key if not key.endswith((b":lease", b":mark")))
        kept = {key: hashlib.sha256(await store.dump(key) or b"").hexdigest() for key in keys}
        await reader.start()
        every = [TopicPartition(topic.name, n) for topic in topics.listed() for n in range(topic.partitions)]
        every = [partition for partition in every if partition.topic != KEYS_TOPIC]
        return {"store": kept, "kafka": await reader.end_offsets(every)}
    finally:
        await store.aclose()
        await reader.stop()


def bad_requests(route: Route) -> Iterator[tuple[str, bytes, set[str]]]:
    for name, (body, codes) in BAD_BODIES.items():
        if not (name == "empty" and NEEDS_NO_BODY.search(route.path)):
            yield name, body, codes


async def test_a_body_that_makes_no_sense_is_refused_by_every_route(world: World, routes: list[Route]) -> None:
    asker = Asker(world)
    async with nothing_written(world):
        for route in (route for route in routes if route.takes_a_body and not TAKES_ANYTHING.search(route.path)):
            for name, body, codes in bad_requests(route):
                _, code = await asker.refused(route, route.at(), body)
                expected = codes | ({"unauthorised"} if route.path in NOT_STAFFS else {"unknown_callout"})
                assert code in expected, (route, name, code)


async def test_unknown_cities_ids_and_methods_are_refused_by_every_route(world: World, routes: list[Route]) -> None:
    asker = Asker(world)
    async with nothing_written(world):
        for route in routes:
            body = b"{}" if route.takes_a_body else None
            if "{city}" in route.path:
                for city in ("999999", "jinzhong", "0", "%00"):
                    status, _ = await asker.refused(route, route.at(city=city), body)
                    assert status in {404, 422}
            if "{case}" in route.path:
                for case in ("1", "not-a-uuid", "..", "0" * 300):
                    status, _ = await asker.refused(route, route.at(case=case), body)
                    assert status in {404, 405, 422}
            other = Route(route.service, "DELETE", route.path)
            assert (await asker.refused(other, route.at(), None))[0] == 405
        for service in SERVICES:
            assert await asker.refused(Route(service, "GET", ""), "/no/such/path", None) == (404, "no_such_path")


async def test_nobody_acts_without_token_name_and_key(world: World, routes: list[Route]) -> None:
    asker = Asker(world)
    async with nothing_written(world):
        for route in (route for route in routes if route.path not in NOT_STAFFS):
            body = b"{}" if route.takes_a_body else None
            nameless = [] if TAKES_ANYTHING.search(route.path) else [{"x_actor": ""}]
            for wrong in ({"authorization": "Bearer wrong"}, {"authorization": ""}, *nameless):
                status, code = await asker.refused(route, route.at(), body, **wrong)
                assert (status, code) in {(401, "unauthorised"), (401, "actor_needed"), (404, "unknown_callout")}
            if route.method == "POST" and not TAKES_ANYTHING.search(route.path):
                status, code = await asker.refused(route, route.at(), body, idempotency_key="")
                assert code in {"idempotency_key_needed", "unknown_callout", "invalid"}, (route, code)


async def test_moves_that_the_tables_do_not_allow_change_nothing(world: World) -> None:
    async with world.call() as incident:
        await incident.opens()
        await incident.writes("end", how="completed")
        await incident.hears("CallEnded")
        moves: tuple[tuple[str, str, dict[str, Any], str], ...] = (
            (INTAKE, f"{call_path(CITY, incident.case)}/end", {"how": "lost"}, "call_ended"),
            (INTAKE, f"{call_path(CITY, incident.case)}/screenings", {"answers": {}}, "no_answers"),
            (
                INTAKE,
                f"{call_path(CITY, incident.case)}/screenings",
                {"answers": {"x": {"1": True}}},
                "unknown_instrument",
            ),
            (INTAKE, f"/cities/{CITY}/alarms/{incident.case}/claims", {"desk": "140700-110"}, "desk_not_awaited"),
            (DISPATCH, f"/cities/{CITY}/incidents/{incident.case}/closing", {"outcome": "hospital"}, "no_incident"),
            (ADAPTER, f"/cities/{CITY}/callouts/140700-110/{incident.case}/1/claims", {}, "unknown_callout"),
        )
        await world.running.until_ready(DISPATCH)
        await incident.hears("CallNoted")
        async with nothing_written(world):
            for service, path, body, code in moves:
                with pytest.raises(Refused) as refusal:
                    await incident.by("seat-1").act(service, path, body)
                assert refusal.value.code == code


async def test_the_same_key_with_another_body_is_refused_however_often_it_comes(world: World) -> None:
    async with world.call() as incident:
        await incident.opens()
        await incident.hears("CallReceived")
        route = Route(INTAKE, "POST", f"{call_path(CITY, incident.case)}/places")
        key = {"idempotency-key": "one", "authorization": f"Bearer {world.where.token}", "x-actor": "seat-1"}
        url = world.where.urls[INTAKE] + route.path
        first = await world.client.http.post(url, json={"confidence": "stated", "text": "甲"}, headers=key)
        assert first.status_code == 201
        await incident.hears("CallNoted")
        async with nothing_written(world):
            again = await world.client.http.post(url, json={"confidence": "stated", "text": "甲"}, headers=key)
            assert again.status_code == 201
            for _ in range(5):
                other = b'{"confidence": "guessed"}'
                assert (await Asker(world).refused(route, route.path, other, idempotency_key="one")) == (
                    422,
                    "idempotency_key_reused",
                )
