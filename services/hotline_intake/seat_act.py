"""A seat's act as such: what every act is asked for, and the request that carries one, in memory and in the journal."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict

from services.hotline_intake.call import Call, OpenCall
from services.hotline_intake.lenient import Ignored
from shared.contract.city import Cities, City
from shared.contract.event import Command, Rejected
from shared.kernel.machine.keeper import IdempotencyKey
from shared.kernel.machine.machine import Address

Seal = Callable[[str, Any], Awaitable[str]]
"""Gives a field of the case as ciphertext. Raises Unavailable where the case's key cannot be fetched."""


class Unusable(Rejected):
    """A request that makes no sense as it stands."""

    status = 422


class SeatAct(BaseModel):
    """The body of one act; unknown fields are refused. `kind` is its name in the journal.

    `claims`: it lapses like a claim; `screens`: it makes a screening.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    answers_alarm: ClassVar[bool] = False
    claims: ClassVar[bool] = False
    screens: ClassVar[bool] = False

    @classmethod
    def kinds(cls) -> Mapping[str, type["SeatAct"]]:
        """Every act by its name in the journal (acts.py)."""
        return {act.kind: act for act in cls.__subclasses__()}

    @property
    def urgent(self) -> bool:
        """Whether it is a cry for help: written down before anything else is tried, and rung if it cannot be learnt."""
        return False

    @property
    def is_drill(self) -> bool:
        """Whether it marks its call as an exercise."""
        return False

    @classmethod
    def read(cls, told: Mapping[str, Any], city: City) -> tuple[Self, Ignored]:
        """The act in a body, and what of it had to be ignored. Raises ValidationError on what cannot be taken."""
        return cls.model_validate(told), ()

    def check(self, cities: Cities, city: City) -> None:
        """Raises Rejected if the act makes no sense as it stands, whatever the call is."""

    async def command(self, request: "SeatActRequest", seal: Seal, *, rang: bool) -> Command:
        """The command that a sensible act means; `rang` if its desk rang from memory. Raises what `seal` raises."""
        raise NotImplementedError(self.kind)


@dataclass(frozen=True)
class SeatActRequest:
    """One act of one person on one call, in plain: it exists in memory, and sealed in the journal.

    `by` is who proved to act, whatever the body says. The key is the same for every attempt and every replay.
    """

    act: SeatAct
    city: str
    case: UUID
    by: str
    at: datetime
    key: IdempotencyKey

    @classmethod
    def from_journal(cls, entry: Mapping[str, Any]) -> "SeatActRequest":
        """The request that `to_journal` wrote. Raises ValidationError, KeyError or ValueError on any other entry."""
        return cls(
            act=SeatAct.kinds()[entry["what"]].model_validate(entry["body"]),
            city=entry["city"],
            case=UUID(entry["case"]),
            by=entry["by"],
            at=datetime.fromisoformat(entry["at"]),
            key=IdempotencyKey(UUID(entry["id"]), entry["fingerprint"], entry["drill"]),
        )

    def to_journal(self) -> dict[str, Any]:
        """Its names are on disks: a later release reads what an earlier one wrote."""
        return {
            "what": self.act.kind,
            "city": self.city,
            "case": str(self.case),
            "by": self.by,
            "at": self.at.isoformat().replace("+00:00", "Z"),
            "id": str(self.key.id),
            "fingerprint": self.key.fingerprint,
            "drill": self.key.drill,
            "body": self.act.model_dump(mode="json", exclude_none=True),
        }

    @property
    def address(self) -> Address:
        return Address(str(self.case), self.city)

    @property
    def about(self) -> dict[str, Any]:
        return {"case": self.case, "city": self.city}

    @property
    def screening(self) -> UUID:
        return uuid5(self.key.id, "screening")

    @property
    def opening(self) -> OpenCall:
        """Of a call whose own opening never got through: it is with whoever cried for help."""
        return OpenCall(**self.about, counsellor=self.by)


@dataclass(frozen=True)
class KeptInJournal:
    """What an act comes to while the store is silent: the call as memory has it."""

    request: SeatActRequest
    call: Call
