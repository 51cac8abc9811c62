"""What an error tells the loop that meets it; there are three meanings, and everything else is a crash.

Exception
├── Rejected     the asker's fault: 4xx, nothing changed        (shared.contract.event)
│   └── …        each refusal beside the code that raises it
├── Malformed    this record can never be understood: dead letter, with the reason
│   └── Unreadable   a sealed field that does not open            (shared.kernel.machine.vault)
└── Unavailable  a store, broker or desk did not answer: try again later; 503 over HTTP
    └── Unwritable   the journal's disk refuses                   (shared.kernel.process.journal)

Anything else ends the process, and its supervisor starts it anew; the third crash on one record dead-letters it.
"""

import traceback
from pathlib import Path


class Malformed(Exception):
    """A record that no retry will mend. `reason` is a stable word for the dead letter."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Unavailable(Exception):
    """What we need does not answer now. The outcome of what was asked may be unknown."""


def crash_places(crash: BaseException) -> list[str]:
    """Where each failure was raised, by type: its message may hold personal data and stays unsaid."""
    if isinstance(crash, BaseExceptionGroup):
        return [place for inner in crash.exceptions for place in crash_places(inner)]
    frames = traceback.extract_tb(crash.__traceback__)
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames[-4:]))
    return [f"{type(crash).__name__} at {where}"]
