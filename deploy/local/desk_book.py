"""登记簿: a simulated desk's own log. What is written there is the truth; everything the desk knows is read from it."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.local.desk_behaviour import Behaviour
from deploy.local.trouble import Trouble

Line = Mapping[str, Any]
"""One line of the log: `what` happened, `at` when, and what belongs to it. Never a name, number or address."""


@dataclass(frozen=True)
class Report:
    """Something the desk will say, or has said. `id` stays the same on every attempt."""

    id: str
    rung: str
    due: datetime
    body: Mapping[str, str]


@dataclass
class CallOut:
    """One order by its key: how often it came, what it is answered with, and what is still to be reported."""

    key: str
    attempts: int = 0
    answer: Mapping[str, Any] = field(default_factory=dict)
    event_no: str | None = None
    officer: str | None = None
    reports_to: str = ""
    traceparent: str | None = None
    incidents: int = 0
    cancelled: bool = False
    to_say: list[Report] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)

    @property
    def taken(self) -> bool:
        """Whether the key already has its one answer."""
        return bool(self.answer)

    @property
    def spoken_for(self) -> bool:
        """Whether anybody at the desk has said, or is going to say, yes or no."""
        planned = {report.rung for report in self.to_say} | set(self.said)
        return self.cancelled or self.answer.get("status") != "delivered" or bool(planned & {"accepted", "rejected"})

    def reached(self, now: datetime) -> set[str]:
        """The rungs it has come to, heard or not: a car has arrived even while its report finds nobody."""
        return set(self.said) | {report.rung for report in self.to_say if report.due <= now}


class Book:
    """The log on disk and what follows from it. `write` returns once the kernel has the line: kill -9 is safe."""

    def __init__(self, folder: Path, first: Behaviour) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        self.behaviour = first
        self.callouts: dict[str, CallOut] = {}
        self.incidents = 0
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                f"Another desk already keeps its log in {folder}; give this one a folder of its own."
            ) from None
        self._mend()
        for line in self.lines():
            self._fold(line)

    def write(self, at: datetime, *lines: Line) -> None:
        """Append lines in one piece: all of them are known after a crash, or none."""
        stamped = [{"at": at.isoformat(), **line} for line in lines]
        os.write(self._file, b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in stamped))
        for line in stamped:
            self._fold(line)

    def behave(self, at: datetime, told: Behaviour) -> None:
        """From now on, and after a restart too."""
        self.write(at, {"what": "behaviour", "told": told.model_dump(mode="json")})

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line there is, oldest first."""
        with self.path.open(encoding="utf-8") as log:
            for line in log:
                yield json.loads(line)

    def known(self, key: str) -> CallOut:
        """What is known of a key; a blank one if nothing is."""
        return self.callouts.get(key) or CallOut(key)

    def summary(self, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Per key: attempts, incidents made (never more than one), answer, and the rungs said with their times."""
        wanted = self.callouts if keys is None else {key: self.known(key) for key in keys if key in self.callouts}
        return {
            key: {
                "attempts": callout.attempts,
                "incidents": callout.incidents,
                "answer": callout.answer,
                "event_no": callout.event_no,
                "officer": callout.officer,
                "cancelled": callout.cancelled,
                "said": callout.said,
                "to_say": [report.rung for report in callout.to_say],
            }
            for key, callout in wanted.items()
        }

    def _mend(self) -> None:
        """Drop a last line that a full disk or a power cut left unfinished."""
        written = self.path.read_bytes()
        if written and not written.endswith(b"\n"):
            os.ftruncate(self._file, written.rfind(b"\n") + 1)

    def _fold(self, line: Line) -> None:
        if line["what"] == "behaviour":
            self.behaviour = Behaviour.model_validate(line["told"])
            return
        callout = self.callouts.setdefault(line["key"], CallOut(line["key"])) if line.get("key") else CallOut("")
        match line["what"]:
            case "posted":
                callout.attempts += line["type"] == "call_out.order"
            case "incident":
                self._note_incident(callout, line)
            case "declined":
                callout.answer = line["answer"]
            case "planned":
                callout.to_say.extend(
                    Report(r["id"], r["rung"], datetime.fromisoformat(r["due"]), r["body"]) for r in line["reports"]
                )
            case "reported" | "refused":
                callout.to_say = [report for report in callout.to_say if report.id != line["id"]]
                callout.said[line["rung"]] = line["at"]
            case "cancelled":
                callout.cancelled, callout.to_say = True, []
                callout.answer = callout.answer or line["answer"]

    def _note_incident(self, callout: CallOut, line: Line) -> None:
        self.incidents += 1
        callout.incidents += 1
        callout.answer = line["answer"]
        callout.event_no, callout.officer = line["event_no"], line["officer"]
        callout.reports_to, callout.traceparent = line["reports_to"], line["traceparent"]
