"""What a process says about itself: bounded, whatever happens how often, and without anybody's words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from shared.kernel.process.logs import AT_MOST, WINDOW, Flood
from tests.shape.source import ROOT


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


WORDS = "13800000000 says 'tonight'"
FAILING = f"""
import asyncio, gc, logging, threading
from shared.kernel.process.logs import speak_json

def fails(*_):
    raise ValueError({WORDS!r})

async def task():
    fails()

class Kept:
    __del__ = fails

async def main():
    loop = asyncio.get_running_loop()
    loop.create_task(task(), name="lost")
    loop.call_soon(fails, {WORDS!r})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()

speak_json()
asyncio.run(main())
thread = threading.Thread(target=fails)
thread.start()
thread.join()
Kept()
library = logging.getLogger("uvicorn.error")
for given in (ValueError({WORDS!r}), OSError({WORDS!r})):
    library.error("Exception in ASGI application\\n", exc_info=given)
    library.warning("it ended: %r", given)
    library.warning(given)
    library.warning("%s of %(d)s", given)
library.warning("%s of %d", "one", 2)
fails()
"""


def test_d6_a_failure_that_nobody_caught_is_said_by_type_and_place_alone(tmp_path: Path) -> None:
    """Else a name or a number stands in a log, or the type and the place stand nowhere."""
    program = tmp_path / "failing.py"
    program.write_text(FAILING)
    ended = subprocess.run([sys.executable, program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "13800000000" not in ended.stdout
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    crashes = [line for line in lines if "at" in line]
    assert [line.get("logger") or line["where"] for line in crashes] == [
        *("asyncio", "asyncio", "thread", "clean-up", "uvicorn.error", "uvicorn.error", "main")
    ]
    assert all("failing.py" in place for line in crashes[:4] for place in line["at"])
    said = [line["message"] for line in lines if line.get("message")]
    assert said[:2] == ["it ended: 'ValueError'", "ValueError"]
    assert said[-1] == "one of 2"
