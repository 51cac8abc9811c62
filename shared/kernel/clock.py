"""The only place that reads the wall clock, and how the store writes a moment."""

from datetime import UTC, datetime
from math import ceil


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def unix_milliseconds(moment: datetime) -> int:
    """Unix time, rounded up, so that what is read back is never before the moment."""
    return ceil(moment.timestamp() * 1000)
