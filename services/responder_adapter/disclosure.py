"""警情简报的最小字段: what each kind of desk may be told, and no more, opened for the moment it is said."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from services.responder_adapter.state import CallOut
from shared.contract.shown import shown_text
from shared.contract.terms import Brief
from shared.kernel.errors import Malformed
from shared.kernel.machine.vault import Vault

EVERY_DESK = ("callback", "counsellor_line", "sex", "age", "appearance")

PROFILES: Mapping[str, tuple[str, ...]] = {
    "medical": (*EVERY_DESK, "door_code", "substance", "dose", "state"),
    "police": (*EVERY_DESK, "name", "company", "door_code", "means", "weapon", "hazards", "approach"),
}
"""Fields of the brief by kind of desk (domain note §6.7: place, means and hazards to police; substance, dose and state
to ambulance). The name goes to police alone, who have to find the person."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Disclosure:
    """In plain, fit to be read out: the fields of the brief that this kind of desk may see, and the address."""

    brief: dict[str, str] = field(default_factory=dict, repr=False)
    place: str | None = field(default=None, repr=False)


def minimum_brief(brief: Brief, *, medical: bool) -> dict[str, str]:
    """The filled fields of `brief` that this kind of desk may see."""
    filled = brief.model_dump(exclude_none=True)
    return {name: shown_text(filled[name]) for name in PROFILES["medical" if medical else "police"] if name in filled}


async def open_disclosure(vault: Vault, callout: CallOut, *, medical: bool) -> Disclosure:
    """The call-out's brief and place; what cannot be read is left out, for help does not wait. Raises Unavailable."""
    return Disclosure(await _brief(vault, callout, medical=medical), await _place(vault, callout))


async def _brief(vault: Vault, callout: CallOut, *, medical: bool) -> dict[str, str]:
    sealed = callout.situation.brief
    if sealed is None or callout.case is None:
        return {}
    try:
        plain = await vault.unseal(callout.case, "brief", sealed, city=callout.city)
        return minimum_brief(Brief.model_validate(plain), medical=medical)
    except (Malformed, ValidationError):
        log.warning("brief_unreadable", key=callout.key)
        return {}


async def _place(vault: Vault, callout: CallOut) -> str | None:
    sealed = callout.situation.place.text
    if sealed is None or callout.case is None:
        return None
    try:
        return shown_text(str(await vault.unseal(callout.case, "place", sealed, city=callout.city)))
    except Malformed:
        log.warning("place_unreadable", key=callout.key)
        return None
