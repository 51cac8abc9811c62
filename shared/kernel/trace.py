"""One trace per case: the case id is the trace id, so every process joins it without asking."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache, partial
from types import TracebackType
from uuid import UUID

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

SAMPLED = TraceFlags(TraceFlags.SAMPLED)

TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
"""W3C Trace Context: a later version may say more behind the flags, version 00 nothing."""

TRACESTATE = re.compile(
    r"([a-z][_0-9a-z\-*/]{0,255}|[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13})"
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
"""One member of a `tracestate`."""

MOST_STATES = 32

_opening: ContextVar[UUID | None] = ContextVar("opening_case", default=None)


class CaseIds(IdGenerator):
    """Random span ids, but for the span that opens a case: its trace id is the case, its id the case's low half."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        case = _opening.get()
        return case.int if case else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        case = _opening.get()
        return _root_span_id(case) if case else self._random.generate_span_id()


def tracer_provider(service: str, otlp: str | None) -> TracerProvider:
    """A tracer provider that exports by OTLP/HTTP to the collector at `otlp`, if one is named."""
    made = TracerProvider(
        sampler=ALWAYS_ON, resource=Resource({"service.name": service}), id_generator=CaseIds(), shutdown_on_exit=False
    )
    if otlp:
        session = requests.Session()
        session.trust_env = False  # a proxy for people's messages would swallow the spans
        exporter = OTLPSpanExporter(endpoint=f"{otlp}/v1/traces", timeout=5, session=session)
        made.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000, max_queue_size=20_000))
    return made


@cache
def tracer() -> trace.Tracer:
    return trace.get_tracer("jingyi")


def case_root(case: UUID) -> SpanContext:
    """Where a case's trace begins, known to everyone from the case id alone."""
    return SpanContext(case.int, _root_span_id(case), is_remote=True, trace_flags=SAMPLED)


def current_traceparent() -> str:
    return traceparent_of(trace.get_current_span().get_span_context())


def traceparent_of(context: SpanContext) -> str:
    """A span context as W3C `traceparent`."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parse_traceparent(traceparent: str | None, tracestate: Sequence[str] = ()) -> SpanContext:
    """A span context out of W3C `traceparent` and the `tracestate` headers beside it; the invalid one if it is none."""
    found = TRACEPARENT.fullmatch(traceparent or "")
    if found is None:
        return INVALID_SPAN_CONTEXT
    trace_id, span_id, flags = (int(part, 16) for part in found.group(1, 2, 3))
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=_state(tracestate))


def _state(tracestate: Sequence[str]) -> TraceState:
    members = [member.strip(" \t") for header in tracestate for member in header.split(",")]
    found = [TRACESTATE.fullmatch(member) for member in members if member]
    pairs = {pair[1]: pair[2] for pair in found if pair}
    # As a whole or not at all; and not by OpenTelemetry's own reading, which logs what it cannot read.
    return TraceState(list(pairs.items()) if len(pairs) == len(found) <= MOST_STATES else [])


def start_span(name: str, within: SpanContext, kind: SpanKind, attributes: dict[str, str | int]) -> Span:
    """A span inside `within` that is not current; end it when the work ended."""
    return tracer().start_span(
        name, trace.set_span_in_context(NonRecordingSpan(within)), kind=kind, attributes=attributes
    )


@contextmanager
def span(name: str, within: SpanContext, kind: SpanKind, attributes: dict[str, str | int]) -> Iterator[Span]:
    """The current span while its body runs. A failure is marked by its type alone: messages may hold personal data."""
    started = start_span(name, within, kind, attributes)
    using = trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False)
    with using, ExitStack() as failing:
        failing.push(partial(_mark, started))
        yield started


@contextmanager
def use_span(started: Span) -> Iterator[None]:
    """Make a span the current one without ending it; a failure is marked by its type."""
    using = trace.use_span(started, end_on_exit=False, record_exception=False, set_status_on_exception=False)
    with using, ExitStack() as failing:
        failing.push(partial(_mark, started))
        yield


def mark_failed(failure: Exception) -> None:
    """Mark the current span by the type of a failure that goes no further."""
    _mark(trace.get_current_span(), None, failure, None)


@contextmanager
def opening_case(case: UUID) -> Iterator[None]:
    """A span started inside is the root of the case's trace."""
    token = _opening.set(case)
    try:
        yield
    finally:
        _opening.reset(token)


@contextmanager
def in_case_trace(case: UUID, name: str) -> Iterator[None]:
    """Make sure that what follows is in the trace of its case, whatever the current span belongs to."""
    current = trace.get_current_span().get_span_context()
    if current.trace_id == case.int:
        yield
        return
    links = [Link(current)] if current.is_valid else []  # the way here, e.g. from another case, can still be followed
    started = tracer().start_span(name, trace.set_span_in_context(NonRecordingSpan(case_root(case))), links=links)
    with trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield


def _mark(started: Span, _: object, failure: BaseException | None, __: TracebackType | None) -> None:
    if isinstance(failure, Exception):
        started.set_status(Status(StatusCode.ERROR, type(failure).__name__))


def _root_span_id(case: UUID) -> int:
    return case.int & 0xFFFF_FFFF_FFFF_FFFF
