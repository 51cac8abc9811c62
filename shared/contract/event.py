"""What a machine can learn: a command asks, an event has happened, a deadline has passed."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.contract.terms import CityCode


class Message(BaseModel):
    """Anything a machine learns. `case` is the call's UUIDv7; `city` the city of the line that took the call."""

    model_config = ConfigDict(frozen=True)

    case: UUID
    city: CityCode


class Command(Message):
    """A wish, named in the imperative; it may be refused with `Rejected`, and then changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(Message):
    """A fact, named in the past participle. It grows by optional fields only; a new meaning is a new type.

    `service` alone says it, on `topic`; `at` is when that service decided it, in UTC. An `urgent` one must not wait
    for Kafka: it is told to its hearers directly as well.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: ClassVar[str]
    topic: ClassVar[str]
    urgent: ClassVar[bool] = False

    at: datetime

    @classmethod
    def type_name(cls) -> str:
        """The CloudEvents `type` of this event."""
        return f"cn.jingyi.{cls.__name__}"

    @classmethod
    def kinds(cls) -> frozenset[type["Event"]]:
        """The events that can be said of this family: itself, unless it has others below it."""
        below = cls.__subclasses__()
        return frozenset[type[Event]]().union(*(kind.kinds() for kind in below)) if below else frozenset({cls})

    @property
    def subject(self) -> str:
        """The CloudEvents `subject`: what of the case it is about. Facts about one subject are heard in order."""
        return str(self.case)


class DeadlinePassed(Message):
    """The moment that `instance` had asked to be woken at has come. `home` is the city whose shard keeps it."""

    instance: str
    home: CityCode
    due: datetime


class Rejected(Exception):
    """The asker's fault: a 4xx with a stable code, a sentence that says what to do, and nothing written."""

    status = 409

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
