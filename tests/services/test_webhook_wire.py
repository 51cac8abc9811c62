"""The webhook wire against a real server that behaves in every bad way a desk's system can."""

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from deploy.local.ports import free
from services.responder_adapter.outgoing import Cancel, Order, Status
from services.responder_adapter.retry_schedule import ENDS_WITHIN, NOT_RECEIVED, NOT_SENT
from services.responder_adapter.wires import Answer, Silence, WireContext
from services.responder_adapter.wires.signature import verify
from services.responder_adapter.wires.webhook import Webhook, connect
from shared.contract.city import WebhookWire
from shared.contract.terms import Rung
from shared.kernel import trace
from tests.services.desk_server import Desk, Reply, http, says, serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 3, 1, 22, tzinfo=UTC)
CASE = "0197a000-0000-7000-8000-000000000001"
HEADING: dict[str, Any] = {
    "key": f"{CASE}/140700-110/1",
    "case": CASE,
    "desk": "140700-110",
    "n": 1,
    "attempt": 1,
    "spoken_number": "0354-1",
    "reports_to": "http://127.0.0.1:9/desks/140700-110/reports",
    "drill": False,
}
ORDER = Order(
    **HEADING,
    tier="imminent",
    reasons=("acute",),
    accept_by=None,
    place={"confidence": "read_back", "text": "迎宾街 1 号", "city": "140700"},
    brief={"sex": "女"},
)
WRITTEN = (
    '{"type":"call_out.order","key":"0197a000-0000-7000-8000-000000000001/140700-110/1",'
    '"case":"0197a000-0000-7000-8000-000000000001","desk":"140700-110","n":1,"attempt":1,"spoken_number":"0354-1",'
    '"reports_to":"http://127.0.0.1:9/desks/140700-110/reports","tier":"imminent","reasons":["acute"],"drill":false,'
    '"accept_by":null,"place":{"confidence":"read_back","text":"迎宾街 1 号","city":"140700"},"brief":{"sex":"女"}}'
)


async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)
    writer.close()


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cuts_the_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{"status": "deliv')
    await writer.drain()
    writer.close()


async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n")
    for _second in range(60):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.5)


async def floods(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()


async def speaks_no_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 smtp.example ESMTP\r\n")
    writer.close()


@contextlib.asynccontextmanager
async def desk(reply: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Desk, Webhook]]:
    async with serving(reply, tls) as made:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{made.port}/callouts?key=secret"
        async with wired(url) as wire:
            yield made, wire


@contextlib.asynccontextmanager
async def wired(url: str, secret: str = SECRET) -> AsyncIterator[Webhook]:
    entry = WebhookWire.model_validate({"kind": "webhook", "url": url, "secret_env": "SECRET"})
    context = WireContext({"SECRET": secret}, ssl.create_default_context(), httpx.AsyncHTTPTransport)
    async with connect("140700-110", entry, context) as wire:
        yield wire


async def said_by(reply: Reply) -> Answer | Silence:
    async with desk(reply) as (_, wire):
        return await wire.send(ORDER, NOW)


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (says(status="delivered"), Answer(Rung.DELIVERED)),
        (says(status="delivered", extra="field"), Answer(Rung.DELIVERED)),
        (says(status="accepted", officer="041207", event_no="E-1"), Answer(Rung.ACCEPTED, "041207", "E-1")),
        (says(status="accepted", event_no="E-1"), Answer(Rung.ACCEPTED, None, "E-1")),
        (says(status="rejected", code="no_unit"), Answer(Rung.REJECTED, code="no_unit")),
        (says(status="cancelled"), Answer(Rung.CANCELLED)),
        (http("202 Accepted", b'{"status":"delivered"}'), Answer(Rung.DELIVERED)),
        (says(status="accepted"), Silence("event_no_missing")),
        (says(status="rejected"), Silence("code_missing")),
        (says(status="arrived"), Silence("bad_answer")),
        (http("200 OK", "<html>您好，欢迎使用</html>".encode()), Silence("bad_answer")),
        (http("200 OK", b""), Silence("bad_answer")),
        (http("200 OK", b"\xff\xfe{}"), Silence("bad_answer")),
        (http("200 OK", b"[" * 60_000), Silence("bad_answer")),
        (http("204 No Content", b""), Silence("bad_answer")),
        (http("200 OK", b'{"status":"delivered"}', "content-encoding: gzip"), Answer(Rung.DELIVERED)),
        (http("302 Found", b"", "location: http://127.0.0.1:1/"), Silence("redirected")),
        (http("304 Not Modified", b""), Silence("redirected")),
        (http("401 Unauthorized", b'{"status":"delivered"}'), Silence("http_401")),
        (http("409 Conflict", b""), Silence("http_409")),
        (http("500 Oops", b'{"status":"accepted","event_no":"E-1"}'), Silence("http_500")),
        (http("503 Busy", b"", "retry-after: 3600"), Silence("http_503")),
        (resets, Silence("reset")),
        (hangs_up, Silence("cut")),
        (cuts_the_answer, Silence("cut")),
        (floods, Silence("too_large")),
        (speaks_no_http, Silence("cut")),
    ],
)
async def test_only_a_well_formed_yes_or_no_is_an_answer(reply: Reply, meant: Answer | Silence) -> None:
    assert await said_by(reply) == meant


YES = Answer(Rung.ACCEPTED, "110234", "20261126001")
YES_WRITTEN = b'{"status": "accepted", "officer": "110234", "event_no": "20261126001"}'


@pytest.mark.parametrize(
    "reply",
    [
        http("200 OK", b'{"status": "accepted", "officer": 110234, "event_no": 20261126001}'),
        http("200 OK", b'{"status": " ACCEPTED ", "officer": " 110234", "event_no": "20261126001 ", "at": "23:59:60"}'),
        http("200 OK", b"\xef\xbb\xbf" + YES_WRITTEN),
        http("200 OK", YES_WRITTEN.decode().encode("utf-16")),
        http("200 OK", gzip.compress(YES_WRITTEN)),
        http("200 OK", gzip.compress(YES_WRITTEN), "content-encoding: gzip"),
        http("200 OK", YES_WRITTEN, "content-type: text/plain; charset=gb2312"),
        http("200 OK", b"[" + YES_WRITTEN + b"]"),
        http("409 Conflict", YES_WRITTEN),
    ],
)
async def test_t9_a_yes_is_heard_however_it_is_spelled(reply: Reply) -> None:
    assert await said_by(reply) == YES


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        (says(status="accepted", event_no="\u3000"), "event_no_missing"),
        (says(status="accepted", event_no="\ufeff--"), "event_no_missing"),
        (http("409 Conflict", b'{"error": "exists"}'), "http_409"),
        (http("200 OK", gzip.compress(b" " * 10_000_000)), "bad_answer"),
        (http("200 OK", gzip.compress(YES_WRITTEN)[:-9]), "bad_answer"),
    ],
)
async def test_t9_what_says_no_clear_yes_is_none_and_is_logged(reply: Reply, meant: str) -> None:
    with capture_logs() as logs:
        assert await said_by(reply) == Silence(meant)
    told = [line for line in logs if line["event"] == "desk_answer_refused"]
    expected = {"desk": "140700-110", "key": ORDER.key, "reason": meant, "log_level": "warning"}
    assert [{name: line[name] for name in expected} for line in told] == ([] if meant == "http_409" else [expected])


async def test_a_desk_that_never_finishes_is_given_its_seconds_and_no_more() -> None:
    started = asyncio.get_running_loop().time()
    said = await asyncio.gather(said_by(never), said_by(drips))
    assert list(said) == [Silence("timeout"), Silence("timeout")]
    assert asyncio.get_running_loop().time() - started < ENDS_WITHIN + 0.5


async def test_a_closed_door_is_known_not_to_have_got_it() -> None:
    async with wired(f"http://127.0.0.1:{free(1)[0]}/callouts") as wire:
        said = await wire.send(ORDER, NOW)
    assert said == Silence("refused")
    assert "refused" in NOT_SENT


async def test_a_desk_nobody_can_vouch_for_is_told_nothing(tmp_path: Path) -> None:
    async with desk(says(status="delivered"), expired(tmp_path)) as (made, wire):
        assert await wire.send(ORDER, NOW) == Silence("bad_certificate")
    assert made.bodies == []


async def test_what_arrives_is_signed_whole_and_named_by_the_call_out() -> None:
    async with desk(says(status="delivered")) as (made, wire):
        await wire.send(ORDER, NOW)
    assert verify(SECRET, made.heads[0], made.bodies[0], NOW) == ORDER.key
    assert made.bodies[0].decode() == WRITTEN
    assert "cookie" not in made.heads[0]


async def test_a_cancellation_is_another_message_than_its_order() -> None:
    async with desk(says(status="cancelled")) as (made, wire):
        await wire.send(Cancel(**HEADING, reason="stood_down"), NOW)
    assert made.heads[0]["webhook-id"] == f"{ORDER.key}/cancel"
    assert list(json.loads(made.bodies[0]))[-2:] == ["reason", "drill"]


async def test_each_question_is_a_message_of_its_own() -> None:
    async with desk(says(status="unknown")) as (made, wire):
        assert await wire.send(Status(**HEADING, question="7"), NOW) == Silence(NOT_RECEIVED)
    assert made.heads[0]["webhook-id"] == f"{ORDER.key}/status/7"
    assert list(json.loads(made.bodies[0]))[-2:] == ["question", "drill"]


@pytest.mark.parametrize("secret", ["", "whsec_short", "whsec_*"])
async def test_without_a_usable_secret_nothing_leaves(secret: str) -> None:
    async with serving(says(status="delivered")) as made:
        async with wired(f"http://127.0.0.1:{made.port}/callouts", secret) as wire:
            assert await wire.send(ORDER, NOW) == Silence("no_secret")
        assert made.connections == 0


async def test_a_desk_is_never_followed_elsewhere_nor_given_its_cookies_back() -> None:
    elsewhere = http("302 Found", b"", "location: /other", "set-cookie: session=1")
    async with desk(elsewhere) as (made, wire):
        await wire.send(ORDER, NOW)
        await wire.send(ORDER, NOW)
    assert len(made.bodies) == 2
    assert all("cookie" not in head for head in made.heads)


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free(1)[0]}")
    assert await said_by(says(status="delivered")) == Answer(Rung.DELIVERED)


async def test_one_connection_serves_many_call_outs_and_never_more_than_twenty_at_once() -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await says(status="delivered")(reader, writer)

    async with desk(slowly) as (made, wire):
        for _ in range(3):
            await wire.send(ORDER, NOW)
        assert made.connections == 1
        await asyncio.gather(*(wire.send(ORDER, NOW) for _ in range(60)))
        assert made.connections <= 20


async def test_a_connection_that_died_in_the_pool_does_not_cost_the_next_attempt() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(status="delivered")(reader, writer)
        writer.close()

    async with desk(once) as (made, wire):
        assert await wire.send(ORDER, NOW) == Answer(Rung.DELIVERED)
        await asyncio.sleep(0.05)
        assert await wire.send(ORDER, NOW) == Answer(Rung.DELIVERED)
    assert made.connections == 2


async def test_the_post_is_one_client_span_that_the_desk_continues_and_that_knows_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    monkeypatch.setattr(trace, "tracer", lambda: provider.get_tracer("test"))
    async with desk(http("500 Oops", b"")) as (made, wire):
        await wire.send(ORDER, NOW)
    [span] = exported.get_finished_spans()
    assert span.context is not None
    assert made.heads[0]["traceparent"].split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]
    assert span.attributes is not None
    assert span.attributes["error.type"] == "http_500"
    assert not {"secret", "迎宾街 1 号"} & {
        word for value in span.attributes.values() for word in str(value).split("=")
    }


def expired(folder: Path) -> ssl.SSLContext:
    """A server whose certificate is its own and out of date."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(NOW - timedelta(days=900)).not_valid_after(NOW - timedelta(days=500))
    file = folder / "desk.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
