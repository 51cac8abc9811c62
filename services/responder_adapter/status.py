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


class CallOutStatus(StrEnum):
    """Where our effort stands; how far the desk has come is the rung."""

    UNHEARD = "unheard"
    OPEN = "open"
    HELD = "held"
    AT_DESK = "at_desk"
    STANDING_DOWN = "standing_down"
    ENDED = "ended"


ENDS: dict[type[Event], CallOutStatus] = {REPORTS[rung]: CallOutStatus.ENDED for rung in ENDED}
MOVES: frozenset[type[Event]] = frozenset(REPORTS.values()) - ENDS.keys()


def _stays_or_ends(status: CallOutStatus) -> dict[type[Event], CallOutStatus]:
    return {**dict.fromkeys(MOVES, status), **ENDS}


ALLOWED: Mapping[CallOutStatus, Mapping[type[Event], CallOutStatus]] = {
    CallOutStatus.UNHEARD: {
        CallOutTaken: CallOutStatus.OPEN,
        CallOutHeld: CallOutStatus.HELD,
        REPORTS[Rung.ACCEPTED]: CallOutStatus.AT_DESK,
        CallOutCancelAsked: CallOutStatus.STANDING_DOWN,
    },
    CallOutStatus.OPEN: {
        CallOutTaken: CallOutStatus.OPEN,
        CallOutRetried: CallOutStatus.OPEN,
        CallOutFailed: CallOutStatus.OPEN,
        CallOutUnreachable: CallOutStatus.OPEN,
        CallOutHeld: CallOutStatus.HELD,
        CallOutRecovered: CallOutStatus.OPEN,
        CallOutInquired: CallOutStatus.OPEN,
        CallOutUncertain: CallOutStatus.HELD,
        CallOutCancelAsked: CallOutStatus.STANDING_DOWN,
        **_stays_or_ends(CallOutStatus.AT_DESK),
    },
    CallOutStatus.HELD: {
        CallOutRecovered: CallOutStatus.HELD,
        CallOutTaken: CallOutStatus.HELD,
        CallOutFailed: CallOutStatus.HELD,
        CallOutHeld: CallOutStatus.HELD,
        CallOutReleased: CallOutStatus.OPEN,
        CallOutCancelAsked: CallOutStatus.STANDING_DOWN,
        **_stays_or_ends(CallOutStatus.AT_DESK),
    },
    CallOutStatus.AT_DESK: {
        CallOutRecovered: CallOutStatus.AT_DESK,
        CallOutTaken: CallOutStatus.AT_DESK,
        CallOutCancelAsked: CallOutStatus.STANDING_DOWN,
        ReportDisputed: CallOutStatus.AT_DESK,
        **_stays_or_ends(CallOutStatus.AT_DESK),
    },
    CallOutStatus.STANDING_DOWN: {
        CallOutRecovered: CallOutStatus.STANDING_DOWN,
        CallOutRetried: CallOutStatus.STANDING_DOWN,
        CallOutFailed: CallOutStatus.STANDING_DOWN,
        CallOutHeld: CallOutStatus.STANDING_DOWN,
        CallOutReleased: CallOutStatus.STANDING_DOWN,
        CallOutCancelDelivered: CallOutStatus.STANDING_DOWN,
        ReportDisputed: CallOutStatus.STANDING_DOWN,
        **_stays_or_ends(CallOutStatus.STANDING_DOWN),
    },
    CallOutStatus.ENDED: {ReportDisputed: CallOutStatus.ENDED},
}
