"""After a lost store a call-out under way asks its desk, or a person does: not two are sent, and not none."""

from collections.abc import Callable
from datetime import timedelta
from functools import reduce

import pytest

from services.responder_adapter.recovery import RecoverCallOut, recovery_command
from services.responder_adapter.retry_schedule import NOT_RECEIVED
from services.responder_adapter.service import machine
from services.responder_adapter.state import TOKENS
from services.responder_adapter.status import CallOutStatus
from shared.contract.callouts import (
    CallOutAccepted,
    CallOutFailed,
    CallOutInquired,
    CallOutRecovered,
    CallOutReleased,
    CallOutRetried,
    CallOutTaken,
    CallOutUncertain,
)
from shared.contract.city import Cities, City
from shared.contract.event import Event, Message
from shared.contract.terms import Rung
from tests.decisions.test_callout import CITIES, LINE, PHONED, WIRE, WIRED, History

EPOCH = 1_790_000_000


def asked() -> History:
    """A call-out whose desk can be asked, sent, when the store was lost and rebuilt."""
    pack: City = CITIES[LINE]
    wire = WIRE.model_copy(update={"says_status": True})
    desks = {**pack.desks, WIRED: pack.desks[WIRED].model_copy(update={"wire": wire})}
    history = History(cities=Cities([pack.model_copy(update={"desks": desks})]))
    history.learns(history.order())
    history.later(60).learns(recovery(history))
    return history


def recovery(history: History, epoch: int = EPOCH) -> RecoverCallOut:
    return RecoverCallOut(**history.which, epoch=epoch)


def kinds(events: tuple[Event, ...]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_a_desk_that_can_say_is_asked_before_anything_is_sent_again() -> None:
    history = asked()
    assert kinds(history.waits())[-1] is CallOutInquired
    assert history.state.sends(history.state.token)


def test_a_desk_that_has_it_is_sent_nothing_more() -> None:
    history = asked()
    history.waits()
    said = history.learns(history.answered(Rung.ACCEPTED, event_no="E-7"))
    assert kinds(said) == [CallOutAccepted]
    assert (history.state.status, history.state.asking, history.state.next_at) == (CallOutStatus.AT_DESK, False, None)


@pytest.mark.parametrize(
    ("says_status", "more"), [(True, (CallOutRecovered,)), (False, (CallOutRecovered, CallOutUncertain))]
)
def test_an_order_from_before_the_rebuild_of_which_nothing_is_known_is_in_doubt_from_its_first_event(
    says_status: bool, more: tuple[type[Event], ...]
) -> None:
    history = asked() if says_status else History()
    fresh = History(cities=history.cities)
    order = fresh.order()
    begun = machine(fresh.cities).begin_again(order, fresh.now, EPOCH)
    assert kinds(begun) == [CallOutTaken, *more]
    fresh.state = reduce(machine(fresh.cities).evolve, begun, fresh.state)
    assert not fresh.state.sends(fresh.state.token)
    if says_status:
        assert kinds(fresh.waits())[-1] is CallOutInquired


def test_a_desk_that_knows_nothing_of_it_is_sent_it_at_once_under_the_same_key() -> None:
    history = asked()
    history.waits()
    before = history.now
    history.learns(history.failed(NOT_RECEIVED))
    assert kinds(history.waits())[-1] is CallOutRetried
    assert history.now == before


def test_a_desk_that_does_not_answer_twice_is_a_persons_to_phone_and_the_hold_has_its_end() -> None:
    history = asked()
    for _ in range(2):
        assert kinds(history.waits())[-1] is CallOutInquired
        history.learns(history.failed("timeout"))
    assert kinds(history.waits()) == [CallOutUncertain]
    assert (history.state.status, history.state.held_by) == (CallOutStatus.HELD, None)
    assert kinds(history.waits()) == [CallOutReleased]
    assert kinds(history.waits())[-1] is CallOutRetried


def test_a_desk_that_cannot_say_is_a_persons_to_phone_from_the_first() -> None:
    history = History()
    history.learns(history.order())
    said = kinds(history.later(60).learns(recovery(history)))
    assert tuple(said) == (CallOutRecovered, CallOutUncertain)
    assert history.state.status is CallOutStatus.HELD
    assert history.learns(history.failed("timeout", token=1)) == ()


def test_whoever_was_phoning_keeps_the_desk_and_the_hold_lasts_anew() -> None:
    history = History()
    history.learns(history.order(), history.claimed("seat-2"))
    history.later(600).learns(recovery(history))
    assert (history.state.status, history.state.held_by, history.state.held_at) == (
        CallOutStatus.HELD,
        "seat-2",
        history.now,
    )


def test_no_token_from_before_is_ever_as_great_again() -> None:
    history = History()
    history.learns(history.order())
    history.learns(history.failed())
    history.learns(recovery(history))
    history.waits()
    assert history.state.token == EPOCH * TOKENS + 1
    assert history.learns(history.failed(token=2)) == ()


def test_an_attempt_that_had_failed_goes_on_under_its_key_without_a_question() -> None:
    history = asked_after_failure()
    assert kinds(history.waits())[-1] is CallOutRetried


def asked_after_failure() -> History:
    history = History()
    history.learns(history.order())
    history.learns(history.failed("refused"), recovery(history))
    return history


def test_a_wish_to_cancel_is_said_again() -> None:
    history = History()
    history.learns(history.order())
    history.learns(history.failed("timeout"), history.cancel())
    history.later(60).learns(recovery(history))
    assert kinds(history.waits())[-1] is CallOutRetried
    assert history.state.status is CallOutStatus.STANDING_DOWN


@pytest.mark.parametrize(
    "end",
    [
        lambda history: history.report(Rung.REJECTED, code="jurisdiction"),
        lambda history: history.report(Rung.CANCELLED),
    ],
)
def test_what_is_over_recovers_nothing(end: Callable[[History], Message]) -> None:
    history = History()
    history.learns(history.order(), end(history))
    assert recovery_command(history.state, EPOCH) is None
    assert history.learns(recovery(history)) == ()


def test_a_call_task_stays_a_call_task() -> None:
    history = History(desk=PHONED)
    history.learns(history.order())
    assert kinds(history.learns(recovery(history))) == [CallOutRecovered]
    assert history.state.status is CallOutStatus.OPEN


def test_a_second_loss_while_the_desk_is_being_asked_asks_anew() -> None:
    history = asked()
    history.waits()
    history.later(3).learns(recovery(history, EPOCH + 3))
    assert kinds(history.waits())[-1] is CallOutInquired
    assert history.now < history.state.started_at + timedelta(seconds=1)  # type: ignore[operator]
    assert CallOutFailed not in {type(event) for event in history.events}
