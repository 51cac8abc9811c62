"""The collector keeps the spans of a case where its case id finds them, and does not fill the disk."""

import asyncio
import gzip
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from deploy.local import collector
from deploy.local.collector import Shelf, unpacked
from deploy.local.ports import HOST, answers, free
from deploy.local.process import Process
from shared.kernel import trace


@pytest_asyncio.fixture(scope="module")
async def otlp(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    state, [port] = tmp_path_factory.mktemp("collector"), free(1)
    told = {"JINGYI_PORT": str(port), "JINGYI_STATE": str(state)}
    argv = (sys.executable, "-m", "deploy.local.collector")
    process = await Process.start("collector", argv, log=state / "log", env=told)
    await process.until_ready(lambda: answers(port), 20)
    yield f"http://{HOST}:{port}"
    await process.stop()


def say(otlp: str, case: UUID) -> None:
    """What a service says of a case: one span inside another, the inner one failed."""
    provider = trace.tracer_provider("dispatch", otlp)
    tracer = provider.get_tracer("test")
    with trace.opening_case(case):
        root = tracer.start_span("PUT", kind=SpanKind.SERVER)
    failed = tracer.start_span("learn incident", set_span_in_context(root), attributes={"attempt": 2})
    failed.set_status(Status(StatusCode.ERROR, "Unavailable"))
    failed.end()
    root.end()
    provider.shutdown()


async def test_what_a_service_exports_is_found_by_the_case_id(otlp: str) -> None:
    case = uuid4()
    await asyncio.to_thread(say, otlp, case)
    async with httpx.AsyncClient(trust_env=False) as client:
        spans = (await client.get(f"{otlp}/traces/{case}")).json()
        assert spans == (await client.get(f"{otlp}/traces/{case.hex}")).json()
    by_name = {span["name"]: span for span in spans}
    assert {span["service"] for span in spans} == {"dispatch"}
    assert by_name["PUT"]["parent"] == ""
    assert by_name["PUT"]["kind"] == "server"
    assert by_name["PUT"]["start"] <= by_name["PUT"]["end"]
    assert by_name["learn incident"]["parent"] == by_name["PUT"]["span"]
    assert by_name["learn incident"]["error"] == "Unavailable"
    assert by_name["learn incident"]["attributes"] == {"attempt": 2}


async def test_a_case_without_spans_is_not_found(otlp: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{otlp}/traces/{uuid4()}")).status_code == 404
        assert (await client.get(f"{otlp}/traces/..%2F..%2Fetc")).status_code in {404, 422}
        assert (await client.get(f"{otlp}/health/ready")).status_code == 200


@pytest.mark.parametrize(("body", "encoding"), [(b"\xff\xff\xff", None), (b"no gzip", "gzip"), (b"{}", None)])
async def test_what_is_no_export_is_refused_and_not_tried_again(otlp: str, body: bytes, encoding: str | None) -> None:
    headers = {"content-encoding": encoding} if encoding else {}
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{otlp}/v1/traces", content=body, headers=headers)).status_code == 400


def test_the_oldest_traces_go_when_there_are_too_many(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, traces_kept=2)
    for trace_id in ("a", "b", "a", "c"):
        shelf.keep([(trace_id, b"{}\n")])
    assert {file.stem for file in tmp_path.iterdir()} == {"a", "c"}


def test_a_shelf_opened_again_still_knows_which_traces_are_oldest(tmp_path: Path) -> None:
    for age, trace_id in enumerate(("new", "old")):
        Shelf(tmp_path).keep([(trace_id, b"{}\n")])
        os.utime(tmp_path / f"{trace_id}.jsonl", (1_000_000 - age, 1_000_000 - age))
    Shelf(tmp_path, traces_kept=2).keep([("newest", b"{}\n")])
    assert {file.stem for file in tmp_path.iterdir()} == {"new", "newest"}


def test_one_trace_that_never_ends_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "SPANS_KEPT", 3)
    shelf = Shelf(tmp_path)
    for _ in range(3):
        shelf.keep([("drill", b"{}\n"), ("drill", b"{}\n")])
    assert (tmp_path / "drill.jsonl").read_bytes().count(b"\n") == 3


def test_an_export_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LARGEST", 1000)
    with pytest.raises(ValueError, match="too large"):
        unpacked(gzip.compress(b"0" * 100_000), "gzip")
