"""How an incident can end, and what is still missing before it may."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.dispatch.incident import Incident
from shared.contract.incidents import CounsellingState
from shared.contract.outcomes import OUTCOMES


@dataclass(frozen=True)
class ClosingGap:
    """One thing that keeps an incident open."""

    code: str
    zh: str
    en: str


def closing_gaps(incident: Incident) -> tuple[ClosingGap, ...]:
    """Everything that must still happen before this incident may be closed; an outcome is named with the closing."""
    return tuple(_gaps(incident))


def _gaps(incident: Incident) -> Iterator[ClosingGap]:
    for leg in incident.at_work:
        name = f"{leg.desk}/{leg.n}"
        yield ClosingGap(
            "leg_open", f"{name} 尚未结束（{leg.rung}）", f"call-out {name} has not ended (it is {leg.rung})"
        )
    if incident.counselling is CounsellingState.ON_LINE:
        yield ClosingGap("still_on_line", "来电仍在通话中", "the call is still on the line")
    if not incident.contact and incident.absence is None:
        yield ClosingGap(
            "contact_open",
            "尚未确认见到本人，也未说明原因",
            "contact with the person is neither confirmed nor its absence explained",
        )
    if not incident.follow_up:
        yield ClosingGap("no_follow_up_plan", "尚无随访计划", "there is no follow-up plan")


def unknown_outcome(outcome: str) -> ClosingGap:
    known = ", ".join(OUTCOMES)
    return ClosingGap(
        "unknown_outcome", f"没有“{outcome}”这一结果，可选：{known}", f"{outcome!r} is no outcome; known: {known}"
    )
