"""What a record becomes that no retry will mend: itself with the reason, or its place alone."""

from shared.kernel import trace
from shared.kernel.log.bus import MAX_EVENT, Record

ROOM = 2048
"""Bytes kept free in a dead letter for its reason and the framing."""

FRAME = 10
"""Bytes around one header at the most."""


def why_put_aside(reason: str, service: str, origin: str) -> dict[str, str]:
    """The headers that make a record a dead letter: what `service` could not deal with, and where it lies."""
    return {
        "traceparent": trace.current_traceparent(),
        "dead_letter_reason": reason,
        "dead_letter_service": service,
        "dead_letter_origin": origin,
    }


def dead_letter(record: Record, reason: str, service: str) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers. One too large to carry its reason is named by its origin, where it stays for ever."""
    whole = len(record.key or b"") + len(record.value or b"")
    whole += sum(len(name.encode()) + len(text or b"") + FRAME for name, text in record.headers)
    fits = whole <= MAX_EVENT - ROOM
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    headers = [
        *((name, text) for name, text in record.headers if fits and name != "traceparent"),
        *((name, text.encode()) for name, text in why_put_aside(reason, service, origin).items()),
    ]
    return record.key if fits else None, (record.value or b"") if fits else b"", headers
