"""What a process says about itself: one JSON line each, in the trace it belongs to."""

import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from io import TextIOWrapper
from typing import Any

import structlog
from opentelemetry import trace as otel

from shared.kernel.errors import crash_places

WINDOW = 10.0
"""Seconds."""

AT_MOST = 50
"""Lines of one kind in a window: enough to see what is the matter, too few to fill a disk."""


def speak_json() -> None:
    """Logs as JSON lines on stdout, in UTF-8, with trace ids and without anything but named fields."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            Flood(time.monotonic).held_back,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_trace,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()])
    threading.excepthook = lambda ended: _crashed("thread", ended.exc_value)
    sys.unraisablehook = lambda ended: _crashed("clean-up", ended.exc_value)
    sys.excepthook = lambda _, crash, __: _crashed("main", crash)


def _crashed(where: str, crash: BaseException | None) -> None:
    """Instead of Python's own words on stderr, which end with those of the failure."""
    structlog.get_logger().error("crashed", where=where, at=crash_places(crash) if crash else [])


class Flood:
    """Holds back what is said too often: of one kind `AT_MOST` lines in `WINDOW` seconds, alarms and news left out.

    The first line of the next window says how many were held back: `left_out`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[tuple[object, object], tuple[float, int]] = {}

    def held_back(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The line, or DropEvent."""
        if event["level"] in {"debug", "info"} or event.get("signal") == "alarm":
            return event
        kind, now = (event["event"], event.get("logger")), self._clock()
        since, said = self._said.get(kind, (now, 0))
        if now - since >= WINDOW:
            event.update({"left_out": said - AT_MOST} if said > AT_MOST else {})
            since, said = now, 0
        self._said[kind] = since, said + 1
        if said >= AT_MOST:
            raise structlog.DropEvent
        return event


class _Forward(logging.Handler):
    """Library logs as JSON lines of ours; of a failure its type and place, for its words may be about a person."""

    def emit(self, record: logging.LogRecord) -> None:
        crash = record.exc_info[1] if record.exc_info else None
        told = {"at": crash_places(crash)} if crash else {"message": _message(record)}
        structlog.get_logger().log(record.levelno, "library", logger=record.name, **told)


def _message(record: logging.LogRecord) -> str:
    args = record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
    named = tuple(type(arg).__name__ if isinstance(arg, BaseException) else arg for arg in args)
    try:
        said = type(record.msg).__name__ if isinstance(record.msg, BaseException) else str(record.msg)
        return (said % named if named else said).partition("\n")[0]
    except (TypeError, ValueError):
        return f"{record.filename}:{record.lineno}"


def _with_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = otel.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
