"""死信: which record that nobody could understand may be a person in danger."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from services.auditor.followed_events import FOLLOWED_EVENTS
from shared.contract.calls import EscalationRequested, ScreeningRecorded
from shared.contract.event import Event
from shared.contract.incidents import CallOutOrdered
from shared.contract.risk import RiskAssessed

DANGER = (EscalationRequested, ScreeningRecorded, RiskAssessed, CallOutOrdered)
"""Words that may call for help."""


@dataclass(frozen=True)
class DeadLetter:
    """One record put aside. `danger`: somebody may wait for what it asks, for no machine will do it."""

    where: str
    at: datetime
    kind: str
    reason: str
    service: str
    danger: bool
    city: str = ""
    case: UUID | None = None
    event_id: UUID | None = None


def read_dead_letter(record: Any, headers: Mapping[str, str]) -> DeadLetter:
    """A record of a dead-letter topic, read as far as it can be."""
    kind = headers.get("ce_type", "")
    # At a deadline that failed, nobody noticed that somebody stayed silent.
    danger = headers.get("dead_letter_reason") == "deadline" or may_be_danger(FOLLOWED_EVENTS.get(kind), record.value)
    return DeadLetter(
        where=f"{record.topic}/{record.partition}/{record.offset}",
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        kind=kind.rpartition(".")[2] or "?",
        reason=headers.get("dead_letter_reason", "?"),
        service=headers.get("dead_letter_service", "?"),
        danger=danger and headers.get("ce_drill") != "true",
        city=headers.get("ce_city", ""),
        case=_uuid((record.key or b"").decode(errors="replace")),
        event_id=_uuid(headers.get("ce_id", "")),
    )


def may_be_danger(kind: type[Event] | None, value: bytes | None) -> bool:
    """Whether it may call for help: what cannot be read may."""
    if kind not in DANGER:
        return False
    try:
        event = kind.model_validate_json(value or b"")
    except ValidationError:
        return True
    match event:
        case ScreeningRecorded():
            return event.danger
        case RiskAssessed():
            return event.dispatch_now
    return True


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
