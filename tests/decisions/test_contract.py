"""What every event keeps to, so that what one service says another can always read."""

from collections.abc import Iterator
from typing import get_args

import pytest

from shared.contract import callouts, calls, incidents, risk
from shared.contract.event import Event

MODULES = {module.__name__ for module in (callouts, calls, incidents, risk)}


def leaves(kind: type[Event]) -> Iterator[type[Event]]:
    below = [sub for sub in kind.__subclasses__() if sub.__module__ in MODULES]
    for sub in below:
        yield from leaves(sub)
    if not below and kind is not Event:
        yield kind


EVENTS = sorted(leaves(Event), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_a_field_that_may_be_unknown_may_be_left_out(kind: type[Event]) -> None:
    """Unknown fields do not travel; one that had to be there would make the event unreadable."""
    optional = {name: field for name, field in kind.model_fields.items() if type(None) in get_args(field.annotation)}
    assert [name for name, field in optional.items() if field.is_required()] == []


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_belongs_to_one_topic(kind: type[Event]) -> None:
    assert kind.topic in {"hotline.calls", "risk.assessments", "dispatch.incidents", "responder.callouts"}
