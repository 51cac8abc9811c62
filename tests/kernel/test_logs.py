"""What a process says about itself: bounded, whatever happens how often, and without anybody's words."""

from typing import Any

import pytest
import structlog

from shared.kernel.process.logs import AT_MOST, WINDOW, Flood


class Hours:
    """A clock that a test sets."""

    now = 0.0

    def read(self) -> float:
        return self.now


def said(flood: Flood, **line: Any) -> dict[str, Any] | None:
    try:
        return dict(flood.held_back(None, "", {"level": "warning", "event": "waiting", **line}))
    except structlog.DropEvent:
        return None


def test_s7_one_kind_of_line_is_said_so_often_and_then_counted() -> None:
    """Else a silent store writes a line for each of a thousand records, again and again."""
    hours = Hours()
    flood = Flood(hours.read)
    assert [line is not None for line in (said(flood) for _ in range(1000))] == [True] * AT_MOST + [False] * 950
    assert said(flood, event="dead_letter") is not None
    hours.now = WINDOW
    assert said(flood) == {"level": "warning", "event": "waiting", "left_out": 950}
    assert "left_out" not in (said(flood) or {})


@pytest.mark.parametrize("line", [{"signal": "alarm"}, {"level": "info"}])
def test_s7_an_alarm_is_never_held_back(line: dict[str, Any]) -> None:
    flood = Flood(Hours().read)
    assert all(said(flood, **line) for _ in range(2 * AT_MOST))
