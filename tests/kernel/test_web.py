"""The HTTP side refuses what it cannot read: a 4xx with a stable code, nothing repeated, nothing written."""

import asyncio
import json
from uuid import uuid4

import httpx
from redis.asyncio import Redis

from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import CITY, alive
from tests.kernel.tally.service import build

CASE = uuid4()
PATH = f"/cities/{CITY}/tallies/{CASE}/additions"
NOTES = f"/cities/{CITY}/tallies/{CASE}/notes"
SECRET = "13935401234"
GOOD = {"case": str(CASE), "city": CITY, "amount": 1}
NOTE = {"name": "n", "phone": SECRET, "address": "a", "answers": {}}
JSON = {"content-type": "application/json", "idempotency-key": "k"}


def body(**changed: object) -> bytes:
    return json.dumps({**GOOD, **changed}).encode()


BAD_BODIES = [
    ("malformed_json", b"{" + SECRET.encode()),
    ("malformed_json", b'{"case": "\xff' + SECRET.encode() + b'"}'),
    ("malformed_json", b"[" * 30_000 + b"]" * 30_000),
    ("malformed_json", b'{"amount": ' + b"9" * 5000 + b"}"),
    ("invalid", b""),
    ("invalid", b"null"),
    ("invalid", b"[]"),
    ("invalid", json.dumps(SECRET).encode()),
    ("invalid", body(amount=SECRET + "x")),
    ("invalid", body(amount=None)),
    ("invalid", body(amount=1.5)),
    ("invalid", body(amount={"a": SECRET})),
    ("invalid", body(case=SECRET)),
    ("invalid", body(city="\ud800")),
    ("invalid", body(amount=float("nan"))),
    ("invalid", body(**{SECRET: 1})),
    ("invalid", body(surprise=SECRET)),
    ("invalid", json.dumps({"case": [[[[SECRET]]]]}).encode()),
    ("too_large", body(note="x" * 1_000_000)),
    ("too_much", body(amount=10**9)),
]

BAD_HEADERS: list[tuple[str, dict[str, str]]] = [
    ("unauthorised", {"authorization": ""}),
    ("unauthorised", {"authorization": f"Bearer {SECRET}"}),
    ("unauthorised", {"authorization": "Bearer developmen\u00e9"}),
    ("actor_needed", {"x-actor": ""}),
    ("actor_needed", {"x-actor": "seat 1\u00a0"}),
    ("actor_needed", {"x-actor": "x" * 41}),
    ("idempotency_key_needed", {"idempotency-key": ""}),
    ("idempotency_key_needed", {"idempotency-key": "k" * 129}),
    ("idempotency_key_needed", {"idempotency-key": "a b"}),
    ("idempotency_key_needed", {"idempotency-key": "\u00e9"}),
]


def refused(answer: httpx.Response, code: str) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code, answer.text
    assert answer.json()["status"] == answer.status_code
    assert {"type", "title", "detail"} <= set(answer.json())
    assert SECRET not in answer.text


async def written(settings: Settings) -> int:
    redis = Redis.from_url(settings.redis_url)
    own = (b"lease", b"heard", b"generation", b"mark")
    names = [name async for name in redis.scan_iter("*") if not any(word in name for word in own)]
    await redis.aclose()
    return len(names)


async def test_a_body_that_cannot_be_read_is_a_problem_and_changes_nothing(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    async with running_service(build, settings):
        await alive(client)
        for code, content in BAD_BODIES:
            refused(await client.post(PATH, content=content, headers=JSON), code)
        for wrong in ({"answers": {SECRET: [1]}}, {"answers": {"a": {SECRET: 1}}}, {SECRET: 1}):
            refused(await client.post(NOTES, json={**NOTE, **wrong}, headers=JSON), "invalid")
        assert await written(settings) == 0


async def test_a_body_in_chunks_is_measured_as_it_comes(settings: Settings, client: httpx.AsyncClient) -> None:
    async def chunks() -> object:
        for _ in range(100):
            yield b" " * 10_000

    async with running_service(build, settings):
        await alive(client)
        refused(await client.post(PATH, content=chunks(), headers=JSON), "too_large")  # type: ignore[arg-type]


async def test_who_asks_and_why_once_must_be_said(settings: Settings, client: httpx.AsyncClient) -> None:
    async with running_service(build, settings):
        await alive(client)
        for code, headers in BAD_HEADERS:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in {**JSON, **headers}.items()]
            refused(await client.post(PATH, json=GOOD, headers=raw), code)
        assert await written(settings) == 0


async def test_s7_what_a_stranger_sends_is_not_even_asked_for(settings: Settings, client: httpx.AsyncClient) -> None:
    def head(path: str, token: str) -> bytes:
        named = f"host: x\r\nauthorization: Bearer {token}\r\ncontent-length: 60000\r\nexpect: 100-continue\r\n"
        return f"POST {path} HTTP/1.1\r\n{named}\r\n".encode()

    async with running_service(build, settings):
        await alive(client)
        for path, token, answer in (
            (PATH, "stranger", b"HTTP/1.1 401"),
            ("/events", "stranger", b"HTTP/1.1 401"),
            (PATH, settings.api_token.get_secret_value(), b"HTTP/1.1 100"),
            ("/events", settings.peer_tokens["giver"].get_secret_value(), b"HTTP/1.1 100"),
        ):
            reader, writer = await asyncio.open_connection(settings.host, settings.port)
            writer.write(head(path, token))
            assert (await reader.read(12)) == answer, path
            writer.close()
            await writer.wait_closed()
        for wrong in (b"{", b"[" * 30_000, b"\xff"):
            refused(await client.post(PATH, content=wrong, headers={**JSON, "authorization": "x"}), "unauthorised")


async def test_t13_a_slash_at_the_end_of_a_path_changes_nothing(settings: Settings, client: httpx.AsyncClient) -> None:
    async with running_service(build, settings):
        await alive(client)
        for path in (PATH, PATH + "/", PATH + "//"):
            answer = await client.post(path, json=GOOD, headers=JSON)
            assert (answer.status_code, answer.json()) == (200, {"total": 1}), path
        assert (await client.get(PATH.removesuffix("additions"))).json()["total"] == 1


async def test_a_path_or_method_that_is_not_there_is_a_problem_too(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    async with running_service(build, settings):
        await alive(client)
        refused(await client.get(f"/nowhere/{SECRET}"), "no_such_path")
        refused(await client.get("/%ff%00"), "no_such_path")
        wrong = await client.delete(PATH)
        refused(wrong, "method_not_allowed")
        assert wrong.headers["allow"] == "POST"
        refused(await client.post(PATH.replace(str(CASE), SECRET) + "x", json=GOOD), "no_such_path")
        refused(await client.post(NOTES.replace(str(CASE), SECRET), json=NOTE, headers=JSON), "invalid")


async def test_what_is_no_http_at_all_does_not_stop_the_next_request(
    settings: Settings, client: httpx.AsyncClient
) -> None:
    async with running_service(build, settings):
        await alive(client)
        for garbage in (b"\x00\xff\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
            reader, writer = await asyncio.open_connection(settings.host, settings.port)
            writer.write(garbage)
            writer.write_eof()
            answer = await reader.read()
            assert b" 500 " not in answer
            writer.close()
            await writer.wait_closed()
        assert (await client.get("/health/live")).is_success
