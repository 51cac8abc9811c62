"""What goes out to a desk: an order, a wish to cancel, a question; each says itself what it carries."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from services.responder_adapter.callout import AttemptAnswered, CancelAnswered, DeskAnswered
from services.responder_adapter.disclosure import Disclosure
from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus

AnswerCommand = type[DeskAnswered]


@dataclass(frozen=True)
class Heading:
    """What every message to a desk begins with. `answered` is how the call-out learns of its answer."""

    type: ClassVar[str]
    answered: ClassVar[AnswerCommand] = AttemptAnswered

    key: str
    case: str
    desk: str
    n: int
    attempt: int
    spoken_number: str
    reports_to: str

    @property
    def message_id(self) -> str:
        """The same for every attempt to say the same thing: what a desk tells repetitions by."""
        return self.key

    @property
    def body(self) -> dict[str, Any]:
        """What is written on a wire: type, heading, own fields."""
        return {"type": self.type, **vars(self)}


@dataclass(frozen=True)
class Order(Heading):
    """Please act: why, where, and what this desk may know, in plain."""

    type: ClassVar[str] = "call_out.order"

    tier: str | None
    reasons: tuple[str, ...]
    drill: bool
    accept_by: str | None
    place: Mapping[str, str | None] = field(repr=False)
    brief: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Cancel(Heading):
    """Please stand down."""

    type: ClassVar[str] = "call_out.cancel"
    answered: ClassVar[AnswerCommand] = CancelAnswered

    reason: str | None
    drill: bool

    @property
    def message_id(self) -> str:
        """Another message than its order."""
        return f"{self.key}/cancel"


@dataclass(frozen=True)
class Status(Heading):
    """Have you got it? Each question is a message of its own."""

    type: ClassVar[str] = "call_out.status"

    question: str
    drill: bool

    @property
    def message_id(self) -> str:
        """Asked once."""
        return f"{self.key}/status/{self.question}"


Outgoing = Order | Cancel | Status


def outgoing_type(callout: CallOut) -> type[Outgoing]:
    """Whether what goes out now asks to act, to stand down, or only how it stands."""
    if callout.status is CallOutStatus.STANDING_DOWN:
        return Cancel
    return Status if callout.asking else Order


async def compose_outgoing(
    callout: CallOut, disclose: Callable[[], Awaitable[Disclosure]], *, drill: bool, **heading: str
) -> Outgoing:
    """What goes out now, under this spoken number and `reports_to`; opens personal data for an order alone."""
    about: dict[str, Any] = {
        "key": callout.key,
        "case": str(callout.case),
        "desk": callout.desk,
        "n": callout.n,
        "attempt": callout.attempt,
        **heading,
        "drill": drill,
    }
    kind = outgoing_type(callout)
    if kind is Cancel:
        return Cancel(**about, reason=callout.cancel_reason)
    if kind is Status:
        return Status(**about, question=str(callout.token))
    told, where = await disclose(), callout.situation.place
    return Order(
        **about,
        tier=callout.tier,
        reasons=callout.reasons,
        accept_by=callout.accept_by.isoformat() if callout.accept_by else None,
        place={"confidence": where.confidence, "text": told.place, "city": where.city},
        brief=told.brief,
    )
