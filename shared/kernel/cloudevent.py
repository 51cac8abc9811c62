"""An event as CloudEvents 1.0 write it: in binary mode, as the headers of a record."""

from uuid import UUID

from shared.contract.event import Event
from shared.kernel import trace


def headers(event: Event, event_id: UUID, source: str, sequence: str) -> dict[str, str]:
    """Everything about an event that is not its value, in the trace that is open now."""
    return {
        "ce_specversion": "1.0",
        "ce_id": str(event_id),
        "ce_source": source,
        "ce_type": event.type_name(),
        "ce_time": event.at.isoformat(),
        "ce_subject": event.subject,
        "ce_partitionkey": str(event.case),
        "ce_city": event.city,
        "ce_sequence": sequence,
        "content-type": "application/json",
        "traceparent": trace.parent(),
    }
