"""Where our effort to reach a desk stands, and what may happen to it there."""

from collections.abc import Mapping
from enum import StrEnum

from shared.contract.callouts import (
    REPORTS,
    CallOutCancelAsked,
    CallOutCancelDelivered,
    CallOutFailed,
    CallOutHeld,
    CallOutInquired,
    CallOutRecovered,
    CallOutReleased,
    CallOutRetried,
    CallOutTaken,
    CallOutUncertain,
    CallOutUnreachable,
    ReportDisputed,
)
from shared.contract.event import Event
from shared.contract.terms import ENDED, Rung


class Status(StrEnum):
    """Where our effort stands; how far the desk has come is the rung."""

    UNHEARD = "unheard"
    OPEN = "open"
    HELD = "held"
    AT_DESK = "at_desk"
    STANDING_DOWN = "standing_down"
    ENDED = "ended"


ENDS: dict[type[Event], Status] = {REPORTS[rung]: Status.ENDED for rung in ENDED}
MOVES: frozenset[type[Event]] = frozenset(REPORTS.values()) - ENDS.keys()


def _stays_or_ends(status: Status) -> dict[type[Event], Status]:
    return {**dict.fromkeys(MOVES, status), **ENDS}


ALLOWED: Mapping[Status, Mapping[type[Event], Status]] = {
    Status.UNHEARD: {
        CallOutTaken: Status.OPEN,
        CallOutHeld: Status.HELD,
        REPORTS[Rung.ACCEPTED]: Status.AT_DESK,
        CallOutCancelAsked: Status.STANDING_DOWN,
    },
    Status.OPEN: {
        CallOutTaken: Status.OPEN,
        CallOutRetried: Status.OPEN,
        CallOutFailed: Status.OPEN,
        CallOutUnreachable: Status.OPEN,
        CallOutHeld: Status.HELD,
        CallOutRecovered: Status.OPEN,
        CallOutInquired: Status.OPEN,
        CallOutUncertain: Status.HELD,
        CallOutCancelAsked: Status.STANDING_DOWN,
        **_stays_or_ends(Status.AT_DESK),
    },
    Status.HELD: {
        CallOutRecovered: Status.HELD,
        CallOutTaken: Status.HELD,
        CallOutFailed: Status.HELD,
        CallOutHeld: Status.HELD,
        CallOutReleased: Status.OPEN,
        CallOutCancelAsked: Status.STANDING_DOWN,
        **_stays_or_ends(Status.AT_DESK),
    },
    Status.AT_DESK: {
        CallOutRecovered: Status.AT_DESK,
        CallOutTaken: Status.AT_DESK,
        CallOutCancelAsked: Status.STANDING_DOWN,
        ReportDisputed: Status.AT_DESK,
        **_stays_or_ends(Status.AT_DESK),
    },
    Status.STANDING_DOWN: {
        CallOutRecovered: Status.STANDING_DOWN,
        CallOutRetried: Status.STANDING_DOWN,
        CallOutFailed: Status.STANDING_DOWN,
        CallOutHeld: Status.STANDING_DOWN,
        CallOutReleased: Status.STANDING_DOWN,
        CallOutCancelDelivered: Status.STANDING_DOWN,
        ReportDisputed: Status.STANDING_DOWN,
        **_stays_or_ends(Status.STANDING_DOWN),
    },
    Status.ENDED: {ReportDisputed: Status.ENDED},
}
