"""The door itself: it keeps the body of any honest client, and nothing unfinished holds it for long."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from deploy.local.ports import HOST, free
from deploy.local.process import Process
from shared.kernel.process import web
from shared.kernel.process.http_server import MAX_HEAD, Connections, http_server, raise_descriptors
from shared.kernel.process.settings import Settings
from tests.kernel.conftest import speaking
from tests.kernel.scene import add, environment, ready
from tests.support.eventually import eventually

BODY = '{"reason":"他说现在就跳","desks":["140700-110","140700-120"]}'.encode()
CHUNKED = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (7, BODY[:7], len(BODY) - 7, BODY[7:])
UPGRADES = (
    "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUA\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n",
    "Connection: keep-alive, Upgrade\r\nUPGRADE: TLS/1.0, HTTP/2.0\r\n",
    "",
)
FRAMINGS = (
    (f"content-length: {len(BODY)}\r\n", BODY),
    ("transfer-encoding: chunked\r\n", CHUNKED),
    (f"content-length: {len(BODY)}\r\nexpect: 100-continue\r\n", BODY),
)


@pytest.fixture
async def door() -> AsyncIterator[Settings]:
    """A server that says back what it was sent."""
    async with serving(asyncio.Event()) as settings:
        yield settings


@asynccontextmanager
async def serving(may_answer: asyncio.Event, most: int | None = None) -> AsyncIterator[Settings]:
    """A server that echoes at once, or when it may, and takes so many connections at the most."""

    async def all_is_well() -> tuple[int, dict[str, Any]]:
        return 200, {}

    settings = Settings(port=free(1)[0])
    app = web.application("echo", "token", all_is_well)

    @app.post("/echo")
    async def echo(sent: dict[str, Any]) -> dict[str, Any]:
        return sent

    @app.post("/later")
    async def later(sent: dict[str, Any]) -> dict[str, Any]:
        await may_answer.wait()
        return sent

    server = http_server(app, settings)
    if most is not None:
        server.server_state = Connections(most)
    work = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    yield settings
    server.should_exit = True
    await work


class Client:
    """Bytes there and back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, bytes]:
        """The next final answer: its status and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        if status == 100:
            return await self.answer()
        named = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:-1])
        return status, await self.reader.readexactly(int(named[b"content-length"]))

    async def flood(self, length: int) -> None:
        for _ in range(length // MAX_HEAD):
            self.writer.write(b"x" * MAX_HEAD)
            await self.writer.drain()

    async def closed(self) -> bytes:
        """All that still comes until the other end closes."""
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""


@asynccontextmanager
async def connected(settings: Settings, address: str = HOST) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(settings.host, settings.port, local_addr=(address, 0))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def request(*headers: str) -> bytes:
    return ("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" + "".join(headers) + "\r\n").encode()


ASKED = request(f"content-length: {len(BODY)}\r\n") + BODY


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize(("framing", "body"), FRAMINGS)
async def test_t3_a_body_is_kept_whatever_upgrade_is_on_offer(
    door: Settings, upgrade: str, framing: str, body: bytes
) -> None:
    head = request(upgrade, framing)
    async with connected(door) as client:
        for pieces in ([head + body], [head, body], [head[:40], head[40:] + body[:3], body[3:]], [head + body] * 2):
            for piece in pieces:
                client.writer.write(piece)
                await client.writer.drain()
                await asyncio.sleep(0)
            for _ in range(pieces.count(head + body) or 1):
                assert await client.answer() == (200, BODY)


@pytest.mark.parametrize("line", ["GET /health/live HTTP/1.1", "GET /x HTTP/1.1", "POST /echo HTTP/1.1", "no"])
async def test_s12_no_answer_is_kept_or_guessed_at_on_its_way(door: Settings, line: str) -> None:
    async with connected(door) as client:
        client.writer.write(f"{line}\r\n\r\n".encode())
        head = await client.reader.readuntil(b"\r\n\r\n")
    assert b"\r\ncache-control: no-store\r\n" in head
    assert b"\r\nx-content-type-options: nosniff\r\n" in head


async def test_t3_a_tunnel_is_no_request(door: Settings) -> None:
    async with connected(door) as client:
        client.writer.write(b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.answer())[0] == 400


@pytest.mark.parametrize(
    "start",
    [
        b"POST /echo HTTP/1.1\r\nx: ",
        b"POST /",
        b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;",
        b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
    ],
)
async def test_s2_headers_without_an_end_are_cut_off_early(door: Settings, start: bytes) -> None:
    async with connected(door) as client:
        client.writer.write(start)
        with pytest.raises(ConnectionError):
            await client.flood(100_000_000)
    async with connected(door) as client:
        client.writer.write(ASKED)
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("more", ["x: " + "x" * 100_000 + "\r\n", "x: y\r\n" * 20_000])
async def test_s2_headers_above_the_limit_are_refused_and_below_it_taken(door: Settings, more: str) -> None:
    async with connected(door) as client:
        client.writer.write(request(f"content-length: {len(BODY)}\r\n", more) + BODY)
        status, body = await client.answer()
        assert (status, json.loads(body)["code"]) == (431, "head_too_large")
        assert await client.closed() == b""
    async with connected(door) as client:
        client.writer.write(request(f"content-length: {len(BODY)}\r\n", "x: " + "x" * 60_000 + "\r\n") + BODY)
        assert (await client.answer())[0] == 200


async def test_l7_a_connection_between_requests_stays_open_longer_than_any_client_of_ours_keeps_it() -> None:
    """Else a client sends on it in the moment in which it is closed."""
    settings = Settings(port=free(1)[0], cities=Path("deploy/cities"))
    assert http_server(web.application("x", "x" * 32, None), settings).config.timeout_keep_alive > 2 * 30  # type: ignore[arg-type]


async def test_s3_what_drips_or_is_silent_is_closed_and_what_is_between_requests_stays(door: Settings) -> None:
    async def drip(start: bytes) -> bytes:
        async with connected(door) as client:
            client.writer.write(start)
            reading = asyncio.create_task(client.closed())
            while not (await asyncio.wait([reading], timeout=0.2))[0]:
                client.writer.write(b"x" if start else b"")
            return await reading

    async with connected(door) as idle, asyncio.timeout(30):
        idle.writer.write(ASKED)
        await idle.answer()
        silent, head, body, second = await asyncio.gather(
            drip(b""), drip(ASKED[:70]), drip(request("content-length: 60000\r\n")), drip(ASKED + ASKED[:70])
        )
        assert silent == b""
        assert [cut.split()[1] for cut in (head, body)] == [b"408", b"408"]
        assert second.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 408" in second
        idle.writer.write(ASKED)
        assert (await idle.answer())[0] == 200


async def test_s3_silent_connections_displace_each_other_and_no_request_in_work() -> None:
    may_answer = asyncio.Event()
    async with serving(may_answer, most=8) as door, AsyncExitStack() as others:
        first = await others.enter_async_context(connected(door))
        working = [await others.enter_async_context(connected(door)) for _ in range(4)]
        for client in working:
            client.writer.write(ASKED.replace(b"/echo", b"/later"))
        newcomers = [await others.enter_async_context(connected(door)) for _ in range(20)]
        newcomers[-1].writer.write(ASKED)
        assert await newcomers[-1].answer() == (200, BODY)
        assert await first.closed() == b""
        may_answer.set()
        for client in working:
            assert await client.answer() == (200, BODY)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has more than one loopback address at once")
async def test_s3_a_flood_from_one_address_displaces_no_other() -> None:
    async with serving(asyncio.Event(), most=8) as door, connected(door) as seat, AsyncExitStack() as flood:
        for _ in range(3):
            seat.writer.write(ASKED)
            assert await seat.answer() == (200, BODY)
            for _ in range(20):
                await flood.enter_async_context(connected(door, "127.0.0.2"))


async def test_s3_a_limit_of_descriptors_is_raised_as_far_as_it_goes(tmp_path: Path) -> None:
    code = (
        "import resource as r; from shared.kernel.process.http_server import raise_descriptors as up;"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, r.getrlimit(r.RLIMIT_NOFILE)[1])); up();"
        "assert len(set(r.getrlimit(r.RLIMIT_NOFILE))) == 1"
    )
    one = await Process.start("limits", [sys.executable, "-c", code], log=tmp_path / "log")
    assert await one.wait() == 0, one.last_words()


async def test_s3_a_service_answers_while_silent_connections_hold_all_it_has(
    settings: Settings, tmp_path: Path
) -> None:
    raise_descriptors()
    few = ["bash", "-c", f"ulimit -n 1024; exec {sys.executable} -m tests.kernel.tally"]
    log = tmp_path / "log"
    service = await Process.start("tally", few, log=log, env=environment(settings))
    try:
        async with speaking(settings) as client:
            await ready(client, "ready", "degraded")
        async with AsyncExitStack() as silent:
            for _ in range(1100):
                await silent.enter_async_context(connected(settings))
            async with speaking(settings) as client:
                assert (await add(client, uuid4(), 1, "k")).status_code == 200
            assert 1024 // 2 < psutil.Process(service.pid).num_fds() < 1024 - 256
        assert "Too many open files" not in log.read_text()
    finally:
        await service.stop()
