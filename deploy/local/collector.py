"""轨迹收集: receives the spans of every service by OTLP/HTTP and keeps them: `python -m deploy.local.collector`.

A trace is a case: its id is the case id. POST /v1/traces takes protobuf, gzip or not; GET /traces/{case} gives the
spans. JINGYI_STATE is where they are kept, JINGYI_PORT the port. The oldest traces go when there are too many.
"""

import json
import os
import sys
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import BaseModel

from deploy.local.ports import HOST

TRACES_KEPT = 5_000
SPANS_KEPT = 5_000
"""Of one trace; a drill's case is used again and again and must not fill the disk."""

LARGEST = 32 * 1024 * 1024
"""Bytes of one export, unpacked."""

Attribute = str | bool | int | float | None


class StoredSpan(BaseModel):
    """One span. Ids are lower-case hex, times nanoseconds since 1970, `parent` is empty for a root."""

    trace: str
    span: str
    parent: str
    service: str
    name: str
    kind: str
    start: int
    end: int
    error: str | None = None
    attributes: dict[str, Attribute] = {}
    links: list[str] = []


class Shelf:
    """Spans on disk, one file a trace, the newest traces kept."""

    def __init__(self, folder: Path, traces_kept: int = TRACES_KEPT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._traces_kept = folder, traces_kept
        found = sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
        self._counts = OrderedDict((file.stem, file.read_bytes().count(b"\n")) for file in found)

    def keep(self, lines: Iterable[tuple[str, bytes]]) -> None:
        """Add spans, each with its trace id; the traces touched become the newest."""
        by_trace: dict[str, list[bytes]] = {}
        for trace, line in lines:
            by_trace.setdefault(trace, []).append(line)
        for trace, spans in by_trace.items():
            count = self._counts.get(trace, 0)
            with (self._folder / f"{trace}.jsonl").open("ab") as file:
                file.write(b"".join(spans[: max(0, SPANS_KEPT - count)]))
            self._counts[trace] = count + len(spans)
            self._counts.move_to_end(trace)
        while len(self._counts) > self._traces_kept:
            oldest, _ = self._counts.popitem(last=False)
            (self._folder / f"{oldest}.jsonl").unlink(missing_ok=True)

    def spans(self, trace: str) -> list[StoredSpan]:
        """The spans of a trace in the order they came; none if it is not known, or no longer."""
        if trace not in self._counts:
            return []
        lines = (self._folder / f"{trace}.jsonl").read_bytes().splitlines()
        return [StoredSpan.model_validate_json(line) for line in lines]


def read_export(exported: ExportTraceServiceRequest) -> Iterator[tuple[str, bytes]]:
    """Every span of an export as (trace id, JSON line)."""
    for resource in exported.resource_spans:
        service = str(attributes(resource.resource.attributes).get("service.name", "unknown"))
        for scope in resource.scope_spans:
            for span in scope.spans:
                trace = span.trace_id.hex()
                if len(trace) == 32:
                    yield trace, written(trace, service, span)


def written(trace: str, service: str, span: Span) -> bytes:
    """One line of a trace's file; shaped as StoredSpan, without the cost of making one."""
    kept = {
        "trace": trace,
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "service": service,
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "error": (span.status.message or "error") if span.status.code == span.status.STATUS_CODE_ERROR else None,
        "attributes": attributes(span.attributes),
        "links": [link.trace_id.hex() for link in span.links],
    }
    return json.dumps(kept, ensure_ascii=False).encode() + b"\n"


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Attribute]:
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: AnyValue) -> Attribute:
    kind = value.WhichOneof("value")
    if kind in {"string_value", "bool_value", "int_value", "double_value"}:
        found: Attribute = getattr(value, kind)
        return found
    return None if kind is None else f"<{kind}>"


def unpacked(body: bytes, encoding: str | None) -> bytes:
    """The body as it was before compression. ValueError if it is no gzip, or grows too large."""
    if encoding != "gzip":
        return body
    try:
        unzip = zlib.decompressobj(wbits=31)
        plain_body = unzip.decompress(body, LARGEST)
    except zlib.error as broken:
        raise ValueError("not gzip") from broken
    if unzip.unconsumed_tail:
        raise ValueError("too large")
    return plain_body


def collector(shelf: Shelf) -> FastAPI:
    """The receiver over one shelf."""
    app = FastAPI(title="Traces of Jingyi")

    @app.post("/v1/traces")
    async def receive(request: Request) -> Response:
        """OTLP/HTTP export, protobuf. 400 what cannot be read: the sender must not try it again."""
        try:
            body = unpacked(await request.body(), request.headers.get("content-encoding"))
            exported = ExportTraceServiceRequest.FromString(body)
        except (ValueError, DecodeError):
            raise HTTPException(400, "This is no ExportTraceServiceRequest.") from None
        shelf.keep(read_export(exported))
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")

    @app.get("/traces/{case}")
    async def trace(case: UUID) -> list[StoredSpan]:
        """The spans of one case, or of any trace id. 404 where there is none."""
        spans = shelf.spans(case.hex)
        if not spans:
            raise HTTPException(404, "No trace of this case has come in yet.")
        return spans

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def main() -> None:
    try:
        port, folder = int(os.environ["JINGYI_PORT"]), Path(os.environ["JINGYI_STATE"])
    except (KeyError, ValueError):
        sys.exit("The collector needs JINGYI_PORT and JINGYI_STATE; see the top of deploy/local/collector.py.")
    app = collector(Shelf(folder / "traces"))
    uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
