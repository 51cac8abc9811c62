"""随访: when to ask after a person again once the crisis is over."""

import calendar
from datetime import date, timedelta

from shared.contract.calls import FollowUp

MONTHS = (1, 3, 12)


def standard_schedule(today: date) -> tuple[FollowUp, ...]:
    """Next day, one week, one, three and twelve months: the schedule for high risk.

    Source: NSFC project abstract on the Beijing hotline's follow-up (myxueshu.com/nsfc/159059), read in an excerpt.
    """
    days = (today + timedelta(days=1), today + timedelta(weeks=1))
    return tuple(FollowUp(due=due) for due in (*days, *(months_after(today, months) for months in MONTHS)))


def months_after(day: date, months: int) -> date:
    """The same day of a later month, or that month's last day where it is shorter."""
    year, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + year, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
