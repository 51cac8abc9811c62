"""From an event's type to its handler, alike for what comes from Kafka and by HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from shared.contract.event import Event
from shared.kernel.errors import Malformed
from shared.kernel.machine.cloudevent import ReceivedEvent, source_of
from shared.kernel.machine.keeper import IdempotencyKey

Handler = Callable[[Any, IdempotencyKey], Awaitable[object]]


class EventRouter:
    """The events that this service handles, and each one's handler."""

    def __init__(self, handlers: Mapping[type[Event], Handler]) -> None:
        self._handlers = {event.type_name(): (event, handler) for event, handler in handlers.items()}
        self.topics = sorted({event.topic for event in handlers})

    @property
    def event_types(self) -> list[str]:
        return sorted(self._handlers)

    def handles_type(self, kind: str) -> bool:
        return kind in self._handlers

    async def learn(self, received: ReceivedEvent) -> None:
        """Have its handler learn one event. Raises Malformed (invalid_type, foreign_source, invalid_event, invalid_id,
        foreign_key, or a handler's own reason) and whatever else the handler raises, Unavailable above all.
        """
        handled = self._handlers.get(received.type)
        if handled is None:
            raise Malformed("invalid_type", "ce_type is missing or unreadable")
        kind, handler = handled
        if received.source != source_of(kind.service):
            raise Malformed("foreign_source", f"only {kind.service} says {kind.__name__}")
        try:
            event = kind.model_validate_json(received.value)
            key = IdempotencyKey(UUID(received.id), drill=received.drill)
        except ValidationError as invalid:
            # The place and the kind of what is wrong, never the value: it may be personal.
            first = invalid.errors(include_input=False, include_url=False)[0]
            raise Malformed("invalid_event", f"{'.'.join(map(str, first['loc']))}: {first['type']}") from None
        except ValueError:
            raise Malformed("invalid_id", "ce_id is not a UUID") from None
        if str(event.case).encode() != received.key:
            raise Malformed("foreign_key", "the record's key is not the case of its event")
        await handler(event, key)
