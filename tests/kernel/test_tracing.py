"""One trace per case: every hop in it, each span ends when its work ended, and nothing personal is in any."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI, Request
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from deploy.local.kafka import Cluster
from shared.kernel import trace
from shared.kernel.process import web
from shared.kernel.process.service import running_service
from shared.kernel.process.settings import Settings
from tests.kernel.scene import CITY, about, add, alive, counted, give, header, mouth, ready, said
from tests.kernel.tally.service import Waited, build
from tests.support.eventually import eventually


def of(spans: InMemorySpanExporter, case: UUID) -> dict[str, ReadableSpan]:
    """The spans of a case by name."""
    return {s.name: s for s in spans.get_finished_spans() if s.context and s.context.trace_id == case.int}


def parent(span: ReadableSpan) -> int | None:
    return int(span.parent.span_id) if span.parent else None


def own(span: ReadableSpan) -> int:
    assert span.context
    return int(span.context.span_id)


async def rung(settings: Settings, case: UUID) -> list[Any]:
    def told(found: list[Any]) -> bool:
        return any(header(r, "ce_type") == Waited.type_name() for r in about(found, case))

    return about(await said(settings.kafka, "tally.counted", told), case)


async def test_the_case_is_the_trace_from_the_request_over_kafka_to_the_deadline(
    settings: Settings, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    case = uuid4()
    async with running_service(build, settings), mouth(settings.kafka) as producer:
        await ready(client)
        await add(client, case, 1, "one")
        records = await rung(settings, case)
        asked = of(spans, case)["POST /cities/{city}/tallies/{case}/additions"]
        traceparent = header(records[0], "traceparent") or ""
        await give(producer, case, 1, None, ("traceparent", traceparent.encode()))
        await counted(settings.kafka, case, 2)
    found = of(spans, case)
    ended = [s for s in spans.get_finished_spans() if s.context and s.context.trace_id == case.int]
    sent = [span for span in ended if span.name == "send tally.counted"]
    assert parent(sent[0]) == own(asked)
    assert traceparent == f"00-{case.hex}-{own(sent[0]):016x}-01"
    assert parent(found["process tally.given"]) == own(sent[0])
    assert own(found["process tally.given"]) in {parent(span) for span in sent}
    assert {(header(record, "traceparent") or "")[3:35] for record in records} == {case.hex}


async def test_a_send_ends_when_the_broker_has_acknowledged_and_not_before(
    frail_settings: Settings, client: httpx.AsyncClient, frail: Cluster, spans: InMemorySpanExporter
) -> None:
    case = uuid4()
    async with running_service(build, frail_settings):
        await ready(client)
        await add(client, uuid4(), 1, "warm")
        frail.brokers[0].pause()
        try:
            await add(client, case, 1, "one")
            assert "send tally.counted" not in of(spans, case)
        finally:
            frail.brokers[0].resume()
        await counted(frail_settings.kafka, case, 1)

        async def ended() -> bool:
            return "send tally.counted" in of(spans, case)

        await eventually(ended)


async def test_a_request_that_failed_is_marked_and_one_without_a_case_has_a_trace_of_its_own(
    settings: Settings, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    case = uuid4()
    async with running_service(build, settings):
        await alive(client)
        assert (await add(client, case, 5000, "one")).status_code == 409
        await client.get("/nowhere")
    refused = of(spans, case)["POST /cities/{city}/tallies/{case}/additions"]
    assert (refused.attributes or {})["http.response.status_code"] == 409
    strangers = [s for s in spans.get_finished_spans() if s.name == "GET unmatched"]
    assert len(strangers) == 1
    assert strangers[0].parent is None


async def test_s11_a_stranger_adds_nothing_to_a_cases_trace(
    settings: Settings, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    case = uuid4()
    path = f"/cities/{CITY}/tallies/{case}"
    given = {"traceparent": f"00-{case.hex}-{case.hex[16:]}-01"}
    async with (
        running_service(build, settings),
        httpx.AsyncClient(base_url=settings.base_url, trust_env=False) as other,
    ):
        await alive(client)
        for method, where, headers in (
            ("GET", path, {}),
            ("GET", path, {"authorization": "Bearer x", **given}),
            ("POST", f"{path}/additions", {}),
            ("PUT", path, {}),
            ("DELETE", f"{path}/additions", {}),
            ("GET", f"{path}/nowhere", {}),
            ("GET", "/nowhere", given),
            ("GET", "/openapi.json", given),
        ):
            await other.request(method, where, headers=headers)
        assert of(spans, case) == {}
        await client.get(path)
        assert list(of(spans, case)) == ["GET /cities/{city}/tallies/{case}"]


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENTS = [
    (f"00-{TRACE}-{SPAN}-01", True),
    (f"00-{TRACE}-{SPAN}-00", True),
    (f"cc-{TRACE}-{SPAN}-01", True),
    (f"cc-{TRACE}-{SPAN}-01-what-the-future-says", True),
    (f"cc-{TRACE}-{SPAN}-01.what-the-future-says", False),
    (f"00-{TRACE}-{SPAN}-01-what-the-future-says", False),
    (f"00-{TRACE}-{SPAN}-01-", False),
    (f"00-{TRACE}-{SPAN}-01\n", False),
    (f"ff-{TRACE}-{SPAN}-01", False),
    (f"0-{TRACE}-{SPAN}-01", False),
    (f"00-{TRACE.upper()}-{SPAN}-01", False),
    (f"00-{TRACE}-{SPAN.upper()}-01", False),
    (f"00-{'0' * 32}-{SPAN}-01", False),
    (f"00-{TRACE}-{'0' * 16}-01", False),
    (f"00-{TRACE}-{SPAN}-0", False),
    (f"00-{TRACE}-{SPAN}-0x", False),
    (f"00-{TRACE[:-1]}-{SPAN}-01", False),
    (f"00-{TRACE}0-{SPAN}-01", False),
    (f"00-{TRACE[:-1]}１-{SPAN}-01", False),
    (f"00-+{TRACE[1:]}-{SPAN}-01", False),
    (f"00-{TRACE[:15]}_{TRACE[16:]}-{SPAN}-01", False),
    (f"00_{TRACE}_{SPAN}_01", False),
    (f" 00-{TRACE}-{SPAN}-01", False),
    ("", False),
    ("-", False),
]


@pytest.mark.parametrize(("traceparent", "valid"), TRACEPARENTS)
def test_s11_a_traceparent_is_read_as_it_is_written_down(traceparent: str, valid: bool) -> None:
    found = trace.parse_traceparent(traceparent)
    assert found.is_valid is valid
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == ((TRACE, SPAN) if valid else ("0" * 32, "0" * 16))


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (["foo=1,bar=2"], {"foo": "1", "bar": "2"}),
        (["foo=1 ,\tbar=2,", "0tenant@system=x y"], {"foo": "1", "bar": "2", "0tenant@system": "x y"}),
        (["foo=1,foo=2"], {}),
        (["foo=1,Bar=2"], {}),
        (["foo"], {}),
        (["foo=1=2"], {}),
        ([",".join(f"k{n}=1" for n in range(33))], {}),
        ([], {}),
    ],
)
def test_s11_a_tracestate_is_kept_whole_or_not_at_all(headers: list[str], kept: dict[str, str]) -> None:
    assert dict(trace.parse_traceparent(f"00-{TRACE}-{SPAN}-01", headers).trace_state) == kept


async def in_order() -> tuple[int, dict[str, Any]]:
    return 200, {}


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        yield client


async def test_s11_a_request_goes_on_in_the_one_trace_it_brings(spans: InMemorySpanExporter) -> None:
    app = web.application("small", "token", in_order)
    app.get("/work")(in_order)
    brought = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "foo=1"), ("tracestate", "bar=2")]
    async with asking(app) as client:
        assert (await client.get("/work", headers=brought)).is_success
        assert (await client.get("/work", headers=[*brought, brought[0]])).is_success
    goes_on, begins = spans.get_finished_spans()
    assert parent(goes_on) == int(SPAN, 16)
    assert goes_on.context
    assert dict(goes_on.context.trace_state) == {"foo": "1", "bar": "2"}
    assert begins.parent is None


async def test_d18_a_request_that_is_cancelled_ends_its_span(spans: InMemorySpanExporter) -> None:
    app, case = web.application("small", "token", in_order), uuid4()
    begun = asyncio.Event()

    @app.get("/work/{case}")
    async def work(case: UUID) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with asking(app) as client:
        request = asyncio.create_task(client.get(f"/work/{case}"))
        await begun.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert list(of(spans, case)) == ["GET /work/{case}"]


async def test_d6_a_crash_is_logged_by_its_place_and_answered_with_what_to_do(spans: InMemorySpanExporter) -> None:
    app, case, phone = web.application("small", "token", in_order), uuid4(), "13935401234"

    @app.post("/work/{case}")
    async def work(case: UUID, request: Request) -> None:
        raise ArithmeticError(await request.body())

    with capture_logs() as said:
        async with asking(app) as client:
            answer = await client.post(f"/work/{case}?phone={phone}", content=phone)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "打电话" in answer.json()["detail"]
    (line,) = said
    assert (line["event"], line["route"], line["case"]) == ("request_crashed", "/work/{case}", str(case))
    assert line["at"][0].startswith("ArithmeticError at test_tracing.py:")
    (span,) = of(spans, case).values()
    assert (span.status.description, (span.attributes or {})["http.response.status_code"]) == ("ArithmeticError", 500)
    assert phone not in f"{answer.text}{said}{span.to_json()}"


async def test_no_attribute_name_or_status_holds_what_was_sent(
    settings: Settings, client: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    case, phone = uuid4(), "13935401234"
    async with running_service(build, settings):
        await alive(client)
        await client.get(f"/cities/{CITY}/tallies/{case}?phone={phone}", headers={"user-agent": phone})
        await client.get(f"/phones/{phone}?q={phone}")
        await client.post(f"/cities/{CITY}/tallies/{case}/notes", json={"phone": phone})
        await client.post(f"/cities/{CITY}/tallies/{case}/notes", json=phone, headers={"idempotency-key": phone})
    ended = spans.get_finished_spans()
    assert len(ended) >= 4
    assert not [span.name for span in ended if phone in span.to_json()]
    assert not {name for span in ended for name in span.attributes or {} if "query" in name or name == "url.full"}
