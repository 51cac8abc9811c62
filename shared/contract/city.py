"""城市包: what one city's hotline is: its line, hours, desks, wires and clocks. Policy is data here, never code."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator

from shared.contract.terms import ECHO, AreaCode, CityCode, DeskId, Place, desk_city, desk_id, desk_kind, spoken_number

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class WireAbilities(BaseModel):
    """What a wire can, written into each call-out's first event. Without `sends` a person carries the call-out.

    `cancels`: a wish to cancel may go the way of the order. `reports`: the desk's own system signs reports to us.
    `says_status`: asked by key (`call_out.status`) it says whether it has a call-out, and never takes it for an order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sends: bool = False
    cancels: bool = False
    says_status: bool = False
    reports: bool = False


class WireEntry(BaseModel):
    """How a desk is reached. `services/responder_adapter/wires/` has one module for each `kind`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @property
    def abilities(self) -> WireAbilities:
        """What this wire can."""
        return WireAbilities()

    @property
    def report_secret_env(self) -> str | None:
        """The environment variable of the secret that the desk signs its reports with, if it reports."""
        return None


class PhoneWire(WireEntry):
    """A desk reached by voice: a call task for the first free person, with number, script and spoken number."""

    kind: Literal["phone"] = "phone"


class WebhookWire(WireEntry):
    """A desk with its own system: signed JSON by POST. `secret_env` names the environment variable of the secret."""

    kind: Literal["webhook"]
    url: HttpUrl
    secret_env: str
    cancels: bool = True
    says_status: bool = False
    reports: bool = True

    @property
    def abilities(self) -> WireAbilities:
        """What the desk's system is known to do."""
        return WireAbilities(sends=True, cancels=self.cancels, says_status=self.says_status, reports=self.reports)

    @property
    def report_secret_env(self) -> str | None:
        """One secret both ways."""
        return self.secret_env if self.reports else None


class EchoWire(WireEntry):
    """No wire at all: the adapter itself answers, and only drills. No city pack can give it to a desk."""

    kind: Literal["echo"]

    @property
    def abilities(self) -> WireAbilities:
        """It answers whatever it is asked."""
        return WireAbilities(sends=True, says_status=True)


BY_PERSON = PhoneWire()
"""Carries what no machine may or can."""


class DeskEntry(BaseModel):
    """One desk of the city; `number` is what a person dials when the wire is silent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    name_en: str
    number: str
    medical: bool = False
    marked_exercise: bool = False
    wire: Annotated[PhoneWire | WebhookWire | EchoWire, Field(discriminator="kind")] = BY_PERSON


ECHO_DESK = DeskEntry(
    name="回声台（演练）",
    name_en="echo desk (drills)",
    number=ECHO,
    marked_exercise=True,
    wire=EchoWire(kind="echo"),
)
"""The desk `000` of every city, to which the minute drill goes."""


class OnCall(BaseModel):
    """A person who is reached when no seat is staffed, and told outside when an alarm rings on.

    `channels` name the environment variables that hold this person's addresses for `apprise`: those are secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    number: str
    channels: tuple[str, ...] = ()


class Clocks(BaseModel):
    """Seconds a city allows. Defaults are ours to start from; each city sets its own.

    From a row's arming: `assess_by`, `ring_at` (screens), `outside_at`. While it rings: outside again each
    `ring_again`, or `ring_untaken` where no channel took it; one person more each `next_person`; a claim lasts `claim`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    assess_by: Seconds = 10
    ring_at: Seconds = 20
    outside_at: Seconds = 25
    ring_again: Seconds = 30
    ring_untaken: Seconds = 5
    next_person: Seconds = 60
    claim: Seconds = 120
    unreachable: Seconds = 10
    accept: Seconds = 15
    assign: Seconds = 60
    roll: Seconds = 180
    arrive: Seconds = 900
    contact: Seconds = 600
    phone_call_back: tuple[Seconds, ...] = (600, 1200, 2400)


class City(BaseModel):
    """One prefecture-level city. `unverified` lists the entries nobody has signed for yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: CityCode
    name: str
    name_en: str
    area_code: AreaCode
    line: str
    seats: tuple[str, ...]
    opens: str
    closes: str
    on_call: OnCall
    next_on_call: tuple[OnCall, ...] = ()
    desks: Mapping[DeskId, DeskEntry]
    clocks: Clocks = Clocks()
    unverified: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _no_real_desk_is_an_echo(self) -> Self:
        echoes = [name for name, desk in self.desks.items() if desk_kind(name) == ECHO or desk.wire.kind == "echo"]
        if echoes:
            raise ValueError(f"{', '.join(echoes)}: the echo desk {ECHO} is built in, and no other desk is one.")
        return self

    @property
    def chain(self) -> tuple[OnCall, ...]:
        """Who is told outside, in this order. Whoever has no channel is told by the screens alone."""
        return tuple(person for person in (self.on_call, *self.next_on_call) if person.channels)

    def desk(self, kind: str) -> DeskEntry | None:
        """The city's desk of that short number; the echo desk is every city's."""
        return self.entry(desk_id(self.code, kind))

    @property
    def every_desk(self) -> Mapping[DeskId, DeskEntry]:
        """The city's desks by id, and the echo desk."""
        return {**self.desks, desk_id(self.code, ECHO): ECHO_DESK}

    def entry(self, desk: str) -> DeskEntry | None:
        """The city's desk of that id."""
        return ECHO_DESK if desk == desk_id(self.code, ECHO) else self.desks.get(desk)


class Cities(Mapping[str, City]):
    """City packs by division code, and what each look-up falls back to where there is no pack.

    A pack that is gone must not silence an alarm or a desk: no look-up here raises but `cities[code]`.
    """

    def __init__(self, packs: Iterable[City]) -> None:
        self._packs = {pack.code: pack for pack in packs}

    def __getitem__(self, code: str) -> City:
        return self._packs[code]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packs)

    def __len__(self) -> int:
        return len(self._packs)

    def of_area(self, area_code: str | None) -> City | None:
        """The pack of a city with that area code."""
        return next((pack for pack in self.values() if pack.area_code == area_code), None)

    def desk_entry(self, desk: str) -> DeskEntry | None:
        """The desk in its city's pack; a desk without one is reached by phone."""
        pack = self.get(desk_city(desk))
        return pack.entry(desk) if pack else None

    def desk_clocks(self, desk: str, line: str) -> Clocks:
        """The times the desk's city allows; those of the line's city where it has no pack."""
        pack = self.get(desk_city(desk)) or self.get(line)
        return pack.clocks if pack else Clocks()

    def line_clocks(self, line: str | None) -> Clocks:
        """The times the line's own city allows."""
        pack = self.get(line or "")
        return pack.clocks if pack else Clocks()

    def chain(self, line: str | None) -> tuple[OnCall, ...]:
        """Who of the line's city is told outside, in this order."""
        pack = self.get(line or "")
        return pack.chain if pack else ()

    def desk_name(self, desk: str) -> str | None:
        """What the desk calls itself."""
        entry = self.desk_entry(desk)
        return entry.name if entry else None

    def desk_number(self, desk: str, place: Place | None = None) -> str | None:
        """What to dial: as the desk's pack says, else the area code of that place, if it is the desk's city."""
        if entry := self.desk_entry(desk):
            return entry.number
        if place and place.area_code and place.city == desk_city(desk):
            return place.area_code + desk_kind(desk)
        return None

    def by_phone(self, desk: str) -> bool:
        """Whether people phone this desk, so that it reports only what a person takes down."""
        entry = self.desk_entry(desk)
        return entry is None or not entry.wire.abilities.sends

    def spoken_number(self, line: str, case: UUID) -> str:
        """The number people say to each other; with the line's division code where its area code is not known."""
        pack = self.get(line)
        return spoken_number(pack.area_code if pack else line, case)
