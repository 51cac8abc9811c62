"""警情简报的最小字段: what each kind of desk is told, and no more; the order and the wish to cancel as they go out."""

from collections.abc import Mapping
from typing import Any

from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from shared.contract.terms import Brief

EVERY_DESK = ("callback", "counsellor_line", "sex", "age", "appearance")

PROFILES: Mapping[str, tuple[str, ...]] = {
    "medical": (*EVERY_DESK, "door_code", "substance", "dose", "state"),
    "police": (*EVERY_DESK, "name", "company", "door_code", "means", "weapon", "hazards", "approach"),
}
"""Fields of the brief by kind of desk (domain note §6.7: place, means and hazards to police; substance, dose and state
to ambulance). The name goes to police alone, who have to find the person."""

ORDER, CANCEL, STATUS = "call_out.order", "call_out.cancel", "call_out.status"


def minimum(brief: Brief, *, medical: bool) -> dict[str, str]:
    """The filled fields of `brief` that this kind of desk may see."""
    filled = brief.model_dump(exclude_none=True)
    return {name: filled[name] for name in PROFILES["medical" if medical else "police"] if name in filled}


def order(callout: CallOut, *, brief: Mapping[str, str], place: str | None, drill: bool) -> dict[str, Any]:
    """The order's own fields: why, where, and what this desk may know."""
    where = callout.situation.place
    return {
        "tier": callout.tier,
        "reasons": callout.reasons,
        "drill": drill,
        "accept_by": callout.accept_by.isoformat() if callout.accept_by else None,
        "place": {"confidence": where.confidence, "text": place, "city": where.city},
        "brief": brief,
    }


def cancellation(callout: CallOut, *, drill: bool) -> dict[str, Any]:
    """The cancellation's own fields."""
    return {"reason": callout.cancel_reason, "drill": drill}


def question(callout: CallOut, *, drill: bool) -> dict[str, Any]:
    """The own fields of the question whether the desk has it; each question is a message of its own."""
    return {"question": str(callout.token), "drill": drill}


def kind(callout: CallOut) -> str:
    """Whether what goes out now asks to act, to stand down, or only how it stands."""
    if callout.status is CallOutStatus.STANDING_DOWN:
        return CANCEL
    return STATUS if callout.asking else ORDER


def heading(callout: CallOut, spoken_number: str, reports_to: str) -> dict[str, Any]:
    """What every message to a desk begins with."""
    return {
        "type": kind(callout),
        "key": callout.key,
        "case": str(callout.case),
        "desk": callout.desk,
        "n": callout.n,
        "attempt": callout.attempt,
        "spoken_number": spoken_number,
        "reports_to": reports_to,
    }
