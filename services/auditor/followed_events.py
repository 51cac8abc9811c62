"""Which of the words that are said on Kafka an account is made of."""

from collections.abc import Mapping

from shared.contract.callouts import (
    REPORTS,
    CallOutCancelAsked,
    CallOutHeld,
    CallOutReleased,
    CallOutTaken,
    CallOutUnreachable,
)
from shared.contract.calls import (
    AlarmClaimed,
    AlarmRaised,
    AlarmReleased,
    AlarmSettled,
    DeskConfirmed,
    EscalationRequested,
    RescueAwaited,
    ScreeningRecorded,
    WatchCleared,
)
from shared.contract.event import Event
from shared.contract.incidents import (
    CallOutCancelRequested,
    CallOutOrdered,
    IncidentClosed,
    IncidentOpened,
    IncidentRaised,
)
from shared.contract.risk import RiskAssessed

KINDS: tuple[type[Event], ...] = (
    ScreeningRecorded,
    EscalationRequested,
    RescueAwaited,
    WatchCleared,
    DeskConfirmed,
    AlarmRaised,
    AlarmClaimed,
    AlarmReleased,
    AlarmSettled,
    RiskAssessed,
    IncidentOpened,
    IncidentRaised,
    IncidentClosed,
    CallOutOrdered,
    CallOutCancelRequested,
    CallOutTaken,
    CallOutHeld,
    CallOutReleased,
    CallOutUnreachable,
    CallOutCancelAsked,
    *REPORTS.values(),
)

FOLLOWED_EVENTS: Mapping[str, type[Event]] = {kind.type_name(): kind for kind in KINDS}
"""By the CloudEvents type. Everything else is passed over unread."""

TOPICS = tuple(sorted({kind.topic for kind in FOLLOWED_EVENTS.values()}))
