"""Words used by more than one service: tiers, rungs, places, desks, spoken numbers."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

from shared.contract.shown import folded_text

Folded = BeforeValidator(folded_text)
"""Taken as people compare it: １４０７００ is 140700. Else one desk has two names, and two cars come."""

CityCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$"), Folded]
"""Division code of a prefecture-level city (GB/T 2260), e.g. 140700 for Jinzhong."""

AreaCode = Annotated[str, StringConstraints(pattern=r"^0[0-9]{2,3}$"), Folded]
"""Telephone area code with its leading zero, e.g. 0354."""

DeskKind = Annotated[str, StringConstraints(pattern=r"^[0-9]{3,5}$"), Folded]
"""The short number of a kind of desk: 110, 120, 119 … The kinds that exist are data in the city pack."""

ECHO: DeskKind = "000"
"""回声台: the kind of desk that is built in everywhere, accepts drills at once and nothing else."""

DeskId = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}-[0-9]{3,5}$"), Folded]
"""One desk of one city: division code and short number, e.g. 140700-110."""

ActorId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
"""Who acts on our side: a staff or seat number, never a name."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_./:-]{0,79}$")]
"""A word out of a published list: a reason, a disposition, a rule id."""


def _names_something(number: str) -> str:
    if not any(map(str.isalnum, number)):
        raise PydanticCustomError("letter_or_digit_needed", "A number has at least one letter or digit.")
    return number


RefNo = Annotated[
    str,
    StringConstraints(max_length=40),
    Folded,
    AfterValidator(_names_something),
]
"""A number another organisation gave, as it is taken down: an officer's, an event's, a unit's. A blank is none."""

WrittenRefNo = Annotated[str, StringConstraints(min_length=1, max_length=40)]
"""A RefNo in an event: whatever an earlier release took down is still read."""

Sealed = Annotated[str, StringConstraints(pattern=r"^s[12]\.[A-Za-z0-9_-]{38,}$", max_length=65536)]
"""Personal or health data as ciphertext: AES-256-GCM under the case's key, bound to case, city and field."""


class Tier(StrEnum):
    """风险等级. Never stands without its reasons, and never withholds help."""

    NONE = "none"
    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    IMMINENT = "imminent"


class Rung(StrEnum):
    """回执阶梯: how far one desk's response to one call-out has come."""

    REQUESTED = "requested"
    DELIVERED = "delivered"
    SHOWN = "shown"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ASSIGNED = "assigned"
    EN_ROUTE = "en_route"
    ARRIVED = "arrived"
    CONTACT = "contact"
    NOT_FOUND = "not_found"
    TRANSPORTING = "transporting"
    HANDED_OVER = "handed_over"
    CLEARED = "cleared"
    CANCELLED = "cancelled"


LADDER: dict[Rung, int] = {
    Rung.REQUESTED: 0,
    Rung.DELIVERED: 1,
    Rung.SHOWN: 2,
    Rung.ACCEPTED: 3,
    Rung.ASSIGNED: 4,
    Rung.EN_ROUTE: 5,
    Rung.ARRIVED: 6,
    Rung.CONTACT: 7,
    Rung.NOT_FOUND: 7,
    Rung.TRANSPORTING: 8,
    Rung.HANDED_OVER: 9,
    Rung.REJECTED: 10,
    Rung.CANCELLED: 10,
    Rung.CLEARED: 10,
}
"""Height of each rung. A report moves a ladder only upwards; the highest three end it."""

ENDED = frozenset({Rung.REJECTED, Rung.CANCELLED, Rung.CLEARED})
"""Rungs after which the desk owes nothing more on this call-out."""

ACCEPTED = frozenset(rung for rung, height in LADDER.items() if height >= LADDER[Rung.ACCEPTED]) - {
    Rung.REJECTED,
    Rung.CANCELLED,
}
"""Rungs that mean a named person at the desk has it, or had it."""


class Confidence(StrEnum):
    """How a place is known. Only `read_back` was confirmed with the caller."""

    UNKNOWN = "unknown"
    GUESSED = "guessed"
    STATED = "stated"
    READ_BACK = "read_back"


class Place(BaseModel):
    """Where the person is. `city` and `area_code` route; `text` is the address, sealed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    confidence: Confidence = Confidence.UNKNOWN
    city: CityCode | None = None
    area_code: AreaCode | None = None
    text: Sealed | None = None


class Situation(BaseModel):
    """情况: all that is known of one person in danger when an event is said; it travels with what calls for help.

    `brief` is the sealed `Brief`; `counsellor` the seat that holds the line, if one does.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    place: Place = Place()
    brief: Sealed | None = None
    counsellor: ActorId | None = None


class Brief(BaseModel):
    """警情简报, unsealed: the minimum a desk needs. It exists in plain only inside a process and at the desk."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=500)

    callback: str | None = None
    counsellor_line: str | None = None
    name: str | None = None
    sex: str | None = None
    age: str | None = None
    appearance: str | None = None
    company: str | None = None
    door_code: str | None = None
    means: str | None = None
    weapon: str | None = None
    hazards: str | None = None
    approach: str | None = None
    substance: str | None = None
    dose: str | None = None
    state: str | None = None


def desk_id(city: str, kind: str) -> str:
    """The id of a city's desk, e.g. `140700-110`."""
    return f"{city}-{kind}"


def desk_city(desk: str) -> str:
    """The city a desk belongs to."""
    return desk.split("-")[0]


def desk_kind(desk: str) -> str:
    """The short number of a desk, e.g. `110`."""
    return desk.split("-")[1]


def callout_key(case: UUID, desk: str, n: int) -> str:
    """The name of one desk asked to act, the same on every attempt: `case/desk/n`."""
    return f"{case}/{desk}/{n}"


def spoken_number(area_code: str, case: UUID) -> str:
    """The number people say to each other on the phone: area code, six digits and a check digit, e.g. 0354-482913-7.

    Derived from the case alone, so a browser shows it with every server dead. Check digit: ISO/IEC 7064 MOD 11,10.
    """
    digits = f"{case.int % 1_000_000:06d}"
    carry = 10
    for digit in digits:
        carry = (carry + int(digit)) % 10 or 10
        carry = carry * 2 % 11
    return f"{area_code}-{digits}-{(11 - carry) % 10}"
