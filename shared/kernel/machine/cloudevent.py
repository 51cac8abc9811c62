"""An event as CloudEvents 1.0 write it: on Kafka the headers of a record, by HTTP one JSON object of a batch."""

import json
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contract.event import Event
from shared.kernel import trace
from shared.kernel.machine.store import OutboxRow

BATCH = "application/cloudevents-batch+json"
"""The content type of a list of structured events."""


def source_of(service: str) -> str:
    """The CloudEvents `source` of what a service says."""
    return f"/jingyi/{service}"


Name = Annotated[str, Field(max_length=200)]


class ReceivedEvent(NamedTuple):
    """What of an event decides who learns it and how; `key` is the case it was sent for, `source` who says it."""

    type: str
    id: str
    key: bytes | None
    value: bytes
    drill: bool
    source: str


class StructuredEvent(BaseModel):
    """One event of a batch, as far as its consumer needs it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Name
    type: Name
    partitionkey: Name
    data: Any
    drill: bool = False
    traceparent: str = ""

    def received_from(self, source: str) -> ReceivedEvent:
        """As it would come from Kafka, said by whoever it truly comes from."""
        key, value = self.partitionkey.encode(), json.dumps(self.data).encode()
        return ReceivedEvent(self.type, self.id, key, value, self.drill, source)


def cloudevent_headers(event: Event, event_id: UUID, source: str, sequence: str) -> dict[str, str]:
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
        "traceparent": trace.current_traceparent(),
    }


def structured_event(row: OutboxRow, traceparent: str) -> bytes:
    """A row as one event of a batch, sent in the span of `traceparent`."""
    attributes = {name.removeprefix("ce_"): text for name, text in row.headers.items() if name.startswith("ce_")}
    head = json.dumps({**attributes, "datacontenttype": "application/json", "traceparent": traceparent}).encode()
    return head[:-1] + b',"data":' + row.value + b"}"  # the value is JSON already
