"""What a process says about itself: one JSON line each, in the trace it belongs to."""

import logging
import sys
from collections.abc import MutableMapping
from io import TextIOWrapper
from typing import Any

import structlog
from opentelemetry import trace as otel


def speak_json() -> None:
    """Logs as JSON lines on stdout, in UTF-8, with trace ids and without anything but named fields."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_trace,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Forward()])


class _Forward(logging.Handler):
    """Library logs as JSON lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, "library", logger=record.name, message=record.getMessage())


def _with_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = otel.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
