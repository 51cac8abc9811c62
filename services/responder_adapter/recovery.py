"""重建之后: a call-out that was under way when the store was lost asks its desk by key; else a person phones."""

from datetime import datetime

from services.responder_adapter.report import event_about
from services.responder_adapter.retry_schedule import INQUIRIES, NO_OUTCOME
from services.responder_adapter.state import CallOut
from services.responder_adapter.status import CallOutStatus
from shared.contract.callouts import CallOutInquired, CallOutRecovered, CallOutRetried, CallOutUncertain
from shared.contract.city import DeskEntry
from shared.contract.event import Command, Event
from shared.contract.terms import DeskId

BECAUSE = "recover_callout"


class RecoverCallOut(Command):
    """The store was rebuilt: trust no attempt from before this epoch."""

    desk: DeskId
    n: int
    epoch: int


def recovery_command(callout: CallOut, epoch: int) -> RecoverCallOut | None:
    """What this call-out learns first after a rebuild; nothing once it is over."""
    if callout.case is None or callout.status is CallOutStatus.ENDED:
        return None
    return RecoverCallOut(case=callout.case, city=callout.city, desk=callout.desk, n=callout.n, epoch=epoch)


def recover_callout(
    callout: CallOut, command: RecoverCallOut, known: DeskEntry | None, now: datetime
) -> tuple[Event, ...]:
    """A new epoch; and where an attempt has no outcome and its desk cannot be asked, that a person should phone."""
    if callout.status in {CallOutStatus.UNHEARD, CallOutStatus.ENDED}:
        return ()
    said = event_about(callout, now, CallOutRecovered)(epoch=command.epoch)
    in_doubt = callout.status is CallOutStatus.OPEN and callout.started_at is not None
    if not in_doubt or _says_status(callout, known):
        return (said,)
    return (said, event_about(callout, now, CallOutUncertain)(reason=BECAUSE))


def next_attempt(callout: CallOut, now: datetime) -> Event:
    """What starts when an attempt is due: sending, or asking as long as there is a hope of an answer."""
    token = callout.token + 1
    if not callout.asking:
        retried: Event = event_about(callout, now, CallOutRetried)(attempt=callout.attempt + 1, token=token)
        return retried
    if callout.asked < INQUIRIES:
        inquired: Event = event_about(callout, now, CallOutInquired)(token=token)
        return inquired
    uncertain: Event = event_about(callout, now, CallOutUncertain)(reason=callout.failure or NO_OUTCOME)
    return uncertain


def repeat_attempt(callout: CallOut, now: datetime) -> Event:
    """The same attempt, which never left, under the next token."""
    retried: Event = event_about(callout, now, CallOutRetried)(attempt=callout.attempt, token=callout.token + 1)
    return retried


def _says_status(callout: CallOut, known: DeskEntry | None) -> bool:
    if callout.abilities is not None:
        return callout.abilities.says_status
    return known is not None and known.wire.abilities.says_status  # taken before its first event said so
