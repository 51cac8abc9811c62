"""When a desk is tried again: waits between attempts, and after how long a silent attempt counts as dead."""

from datetime import timedelta
from zlib import crc32

WAITS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before attempts 1 to 5 (delivery schedules of commerce begin at 5 s and are far too slow for us)."""

LONGEST_WAIT = 10.0
"""Seconds before each later attempt of the first hour."""

FIRST_HOUR = 360
"""Attempts, about. By then people have been rung a hundred times; a desk dead for days must not fill the log."""

LATER_WAIT = 300.0
"""Seconds at which the wait stops growing after that."""

JITTER = 0.2

LEAVES_WITHIN = 0.5
"""Seconds after its commit within which an attempt leaves on what memory knows. A later one asks the store whether it
is the newest there is."""

ENDS_WITHIN = 3.5
"""Seconds a POST may take in all. With the wait of a dead one's successor it leaves room for five seconds in all."""

PRESUMED_DEAD = timedelta(seconds=LEAVES_WITHIN + ENDS_WITHIN + 0.1)
"""An attempt that has no outcome by then died with its process."""

NO_OUTCOME = "no_outcome"

NOT_RECEIVED = "not_received"
"""The desk, asked by key, says that it has nothing under it: send at once."""

INQUIRIES = 2
"""How often a desk is asked by key, before a person has to phone."""

LATE = "late"
"""The store did not say whether it is still the newest: no fault of the desk's, so it is made anew at once, under the
same number."""

NOT_SENT = frozenset(
    {NOT_RECEIVED, LATE, "refused", "connect_timeout", "bad_certificate", "busy", "no_secret", "no_key", "by_person"}
)
"""Failures after which the desk cannot have the order. After any other it may, and has to be told of a cancellation."""


def wait_before(attempt: int, key: str) -> timedelta:
    """How long to wait before `attempt`. Spread by key and attempt, so that a desk that comes back is not overrun."""
    late = attempt - FIRST_HOUR
    seconds = WAITS[attempt - 1] if attempt <= len(WAITS) else min(LONGEST_WAIT * max(1, late), LATER_WAIT)
    spread = crc32(f"{key}#{attempt}".encode()) / 0xFFFF_FFFF * 2 - 1
    return timedelta(seconds=seconds * (1 + JITTER * spread))
