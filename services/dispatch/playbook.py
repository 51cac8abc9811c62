"""Which kinds of desk danger calls out, of which city, and who corrects what a desk rejected. For experts to review."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.contract.city import Cities
from shared.contract.terms import ECHO, ENDED, Confidence, Place, Rung, Tier, desk_id

PLAYBOOK = "playbook"
"""Who signs a decision that no person took."""

BY_HAND = "escalated_by_hand"
"""The reason an incident carries when a counsellor pressed F9; their own words stay sealed with the call."""

PLACE_MOVED = "place_moved"

CALLED_OUT: Mapping[Tier | None, tuple[str, ...]] = {
    Tier.IMMINENT: ("110", "120"),
    Tier.HIGH: ("110", "120"),
    # No tier, or one that would not call anybody by itself: somebody asked for people on site all the same (F9, or
    # an assessment with `dispatch_now`), and no level ever withholds help.
    None: ("110", "120"),
}

NEEDS_PLACE = frozenset({"120"})
"""Kinds with nowhere to drive without a place: until then they are warned by voice. 110 can locate a number."""

A_PLACE = frozenset({Confidence.STATED, Confidence.READ_BACK})
"""How a place must be known to send somebody there. A guess is not a place."""

AGAIN_BY_HAND = ENDED
"""F9 is a person's recorded decision, so it calls a desk again whatever ended its last call-out."""

AGAIN_BY_ASSESSMENT = frozenset({Rung.CLEARED, Rung.CANCELLED})
"""New danger calls back a desk that had finished or stood down. After a rejection a person corrects the order first."""


class Correction(StrEnum):
    """What a rejection asks of us."""

    NONE = "none"
    BY_HAND = "by_hand"


AFTER_REJECTION: Mapping[str, Correction] = {
    # They have this person under an event number already; a second order would be a second car.
    "duplicate": Correction.NONE,
    # Their city is wrong, and only a place read back with the caller may choose another one.
    "wrong_jurisdiction": Correction.BY_HAND,
    # Somebody has to ask the caller; the same words again cannot be located any better.
    "cannot_locate": Correction.BY_HAND,
    # Somebody has to say whether the danger still stands before it is sent as new.
    "too_old": Correction.BY_HAND,
    # Their units are out: another city's desk is a question for the supervisor, who can phone both.
    "no_unit": Correction.BY_HAND,
}


def correction_after(code: str | None) -> Correction:
    """Nothing is ordered again by itself: a desk that said no would say it again, and each `n` is a car on the road."""
    return AFTER_REJECTION.get(code or "", Correction.BY_HAND)


def kinds_to_call(tier: Tier | None, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The kinds of desk to call out for `tier`; the kinds that were `asked` for come in addition.

    Whoever asks for the echo desk alone drills the machine: nobody else is called out.
    """
    if asked == (ECHO,):
        return asked
    return tuple(dict.fromkeys((*CALLED_OUT.get(tier, CALLED_OUT[None]), *asked)))


def is_known(place: Place) -> bool:
    return place.confidence in A_PLACE


def routes_callouts(place: Place) -> bool:
    """Whether the place chooses the city: only one read back with the caller does, never the number's home region."""
    return place.confidence is Confidence.READ_BACK and place.city is not None


@dataclass(frozen=True)
class TargetCity:
    """The city whose desks are called out; `area_code` is None where nobody knows it."""

    city: str
    area_code: str | None


@dataclass(frozen=True)
class CalledDesk:
    """A desk, and the number to phone where no city pack has it."""

    desk: str
    number: str | None


def choose_city(cities: Cities, line: str, read_back: Place | None) -> TargetCity:
    """The city of the place read back, else the line's own: a city nobody can reach helps nobody."""
    if read_back is not None and read_back.city is not None:
        # Who is dialled under the same area code is the same desk, whatever name the city has.
        pack = cities.get(read_back.city) or cities.of_area(read_back.area_code)
        if pack is not None:
            return TargetCity(pack.code, pack.area_code)
        if read_back.area_code is not None:
            return TargetCity(read_back.city, read_back.area_code)
    own = cities.get(line)
    return TargetCity(line, own.area_code if own else None)


def choose_desk(cities: Cities, at: TargetCity, kind: str) -> CalledDesk:
    """The desk of that kind there. Without an entry in a pack it is a phone desk: area code and short number."""
    desk = desk_id(at.city, kind)
    unlisted = cities.desk_entry(desk) is None and at.area_code is not None
    return CalledDesk(desk, f"{at.area_code}{kind}" if unlisted else None)


def accept_within(cities: Cities, desk: str, line: str) -> float:
    """Seconds a desk has to accept. Nobody dials, explains and takes down two numbers in the time a console needs."""
    allowed = cities.desk_clocks(desk, line)
    return allowed.claim if cities.by_phone(desk) else allowed.accept
