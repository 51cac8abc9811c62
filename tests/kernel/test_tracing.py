"""One trace per case: every hop in it, each span ends when its work ended, and nothing personal is in any."""

from typing import Any
from uuid import UUID, uuid4

import httpx
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deploy.local.kafka import Cluster
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
