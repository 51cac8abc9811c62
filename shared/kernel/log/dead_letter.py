"""What a record becomes that no retry will mend: itself with the reason, or its place alone."""

from shared.kernel import trace
from shared.kernel.log.bus import MAX_EVENT, Record

ROOM = 2048
"""Bytes kept free in a dead letter for its reason and the framing."""

FRAME = 10
"""Bytes around one header at the most."""


def dead_letter(record: Record, reason: str, service: str) -> tuple[bytes | None, bytes, list[tuple[str, bytes]]]:
    """Key, value and headers. One too large to carry its reason is named by its origin, where it stays for ever."""
    whole = len(record.key or b"") + len(record.value or b"")
    whole += sum(len(name.encode()) + len(text or b"") + FRAME for name, text in record.headers)
    fits = whole <= MAX_EVENT - ROOM
    headers = [
        *((name, text) for name, text in record.headers if fits and name != "traceparent"),
        ("traceparent", trace.current_traceparent().encode()),
        ("dead_letter_reason", reason.encode()),
        ("dead_letter_service", service.encode()),
        ("dead_letter_origin", f"{record.topic}/{record.partition}/{record.offset}".encode()),
    ]
    return record.key if fits else None, (record.value or b"") if fits else b"", headers
