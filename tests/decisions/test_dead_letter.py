"""Which dead letters ring: whatever may be a person in danger whom no machine helps any more."""

from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from services.auditor.dead_letter import read_dead_letter


@dataclass(frozen=True)
class Letter:
    """A record of a dead-letter topic."""

    key: bytes = field(default_factory=lambda: str(uuid4()).encode())
    value: bytes = b"{}"
    topic: str = "hotline.calls.dlq"
    partition: int = 0
    offset: int = 1
    timestamp: int = 1_700_000_000_000


@pytest.mark.parametrize(("drill", "rings"), [("", True), ("true", False)])
def test_d2_a_deadline_at_which_its_machine_failed_rings(drill: str, rings: bool) -> None:
    headers = {"ce_type": "cn.jingyi.DeadlinePassed", "dead_letter_reason": "deadline", "ce_city": "140700"}
    letter = read_dead_letter(Letter(), headers | ({"ce_drill": drill} if drill else {}))
    assert (letter.danger, letter.kind, letter.city) == (rings, "DeadlinePassed", "140700")


def test_a_letter_that_calls_for_no_help_does_not_ring() -> None:
    assert not read_dead_letter(Letter(), {"ce_type": "cn.jingyi.CallEnded", "dead_letter_reason": "crash"}).danger
