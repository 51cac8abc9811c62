"""One wire each. A gateway says once what it is given and tells what came of it; it never tries again."""

from dataclasses import dataclass

from shared.contract.terms import Rung


@dataclass(frozen=True)
class Answer:
    """A desk's definite word: delivered, accepted, rejected or cancelled."""

    rung: Rung
    officer: str | None = None
    event_no: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Silence:
    """Nothing definite. `reason` is of a closed list; the same key must be sent again."""

    reason: str
