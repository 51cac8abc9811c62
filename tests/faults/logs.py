"""The three logs, as lines on disk: what seats sent and heard, what desks wrote down, what rang; written and read."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.contract.terms import desk_id, spoken_number
from tests.faults.seen import Car, Cry, Probe, Reply, Ring, Seen, Told

CLIENT, ALARMS, PROBES = "client.jsonl", "alarms.jsonl", "probes.jsonl"
BY_HAND = "escalate"
DECISIVE = frozenset({"save", BY_HAND})
"""Acts that call for help."""

UNHEARD = frozenset({"unassessed", "unordered", "store_silent"})
"""Reasons of an alarm that is about the case as a whole: nobody knows its desks yet, so the first is to be phoned."""

AREA, CITY = "0354", "140700"
SPOKEN, DIALLED = re.compile(rf"{AREA}-\d{{6}}-\d"), re.compile(rf"{AREA}(\d{{3,5}})(?!\d)")
Line = dict[str, Any]


class Log:
    """An append-only file of JSON lines, each stamped with wall time and with the fault under way."""

    def __init__(self, path: Path, fault: Callable[[], str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._fault = fault

    def write(self, what: str, **told: Any) -> None:
        self._file.write(json.dumps({"at": time.time(), "fault": self._fault(), "what": what, **told}) + "\n")

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Folder:
    """Where one system's logs are: the seats' and the alarms' in `seen`, each desk's own in `desks/<id>`."""

    path: Path

    @property
    def seen(self) -> Path:
        return self.path / "seen"

    def read(self) -> Seen:
        """Everything."""
        client = list(lines(self.seen / CLIENT))
        rings = list(lines(self.seen / ALARMS))
        desks = {log.parent.name: list(lines(log)) for log in sorted(self.path.glob("desks/*/log.jsonl"))}
        spoken = {spoken_number(AREA, UUID(line["case"])): line["case"] for line in client}
        heard = tuple(cries(client))
        cried = {cry.case: cry.sent for cry in heard}  # six digits come again: what rang before was another's
        rung = (*ringing(rings), *outside(lines(self.path / "channel" / "log.jsonl"), spoken))
        return Seen(
            cries=heard,
            replies=tuple(replies(client)),
            told=tuple(told for desk, log in desks.items() for told in orders(desk, log)),
            cars=tuple(car for desk, log in desks.items() for car in cars(desk, log)) + tuple(phoned(rings)),
            rings=tuple(ring for ring in rung if ring.at > cried.get(ring.case, 0)),
            probes=self._probes(""),
        )

    def of(self, fault: str) -> Seen:
        """What belongs to the calls of one fault."""
        whole = self.read()
        mine = {line["case"] for line in lines(self.seen / CLIENT) if line["fault"] == fault}
        keys = {line["key"] for line in lines(self.seen / CLIENT) if line["case"] in mine}
        return replace(
            whole,
            cries=tuple(cry for cry in whole.cries if cry.case in mine),
            replies=tuple(reply for reply in whole.replies if reply.key in keys),
            told=tuple(told for told in whole.told if told.case in mine),
            cars=tuple(car for car in whole.cars if car.case in mine),
            rings=tuple(ring for ring in whole.rings if ring.case in mine),
            probes=self._probes(fault),
        )

    def _probes(self, fault: str) -> tuple[Probe, ...]:
        """What was measured after a fault; after all of them, without a name."""
        mine = (line for line in lines(self.seen / PROBES) if line["fault"] == fault)
        return tuple(Probe(line["probe"], line["took"], line["asked"]) for line in mine)


def lines(path: Path) -> Iterator[Line]:
    """Each whole line; a last one that was cut off by a crash says nothing."""
    if path.exists():
        with path.open(encoding="utf-8") as log:
            yield from (json.loads(line) for line in log if line.endswith("\n"))


def cries(client: Iterable[Line]) -> Iterator[Cry]:
    """One per case: the acts that call for help, together."""
    found: dict[str, Cry] = {}
    for line in client:
        if line["act"] not in DECISIVE:
            continue
        cry = found.get(line["case"]) or Cry(line["case"], frozenset(line["desks"]), line["at"])
        if line["what"] == "answered" and 200 <= line["status"] < 300:
            cry = replace(cry, accepted=min(line["at"] - line["took"], cry.accepted or line["at"]))
        found[line["case"]] = replace(cry, desks=cry.desks | set(line["desks"]), sent=min(cry.sent, line["at"]))
    yield from found.values()


def replies(client: Iterable[Line]) -> Iterator[Reply]:
    for line in client:
        if line["what"] == "answered" and line["act"] in DECISIVE:
            left, by_hand = line["at"] - line["took"], line["act"] == BY_HAND
            yield Reply(line["key"], line["status"], line["took"], line.get("said", ""), left, by_hand)


def orders(desk: str, log: Iterable[Line]) -> Iterator[Told]:
    for line in log:
        if line["what"] == "posted":
            body = line["answered"]["body"]
            stood_down = isinstance(body, Mapping) and body.get("status") == "cancelled"
            cancels = line["type"] == "call_out.cancel"
            yield Told(line["key"].split("/")[0], desk, line["key"], moment(line), cancels, stood_down)


def cars(desk: str, log: list[Line]) -> Iterator[Car]:
    """Drills make no car."""
    accepts = ((line["key"], moment(line)) for line in log if line.get("rung") == "accepted")
    reported = dict(reversed(list(accepts)))
    for line in log:
        if line["what"] == "incident" and not line["drill"]:
            at, key = moment(line), line["key"]
            accepted = at if line["answer"].get("status") == "accepted" else reported.get(key)
            yield Car(key.split("/")[0], desk, key, at, accepted)


def phoned(alarms: Iterable[Line]) -> Iterator[Car]:
    """A person who was rung reached the desk by phone, and the desk had nothing yet: it made its incident then."""
    for line in alarms:
        if line["what"] == "phoned":
            yield Car(line["case"], line["desk"], "by phone", line["at"], line["at"], by_phone=True)


def ringing(alarms: Iterable[Line]) -> Iterator[Ring]:
    """What stood on the list of alarms."""
    for line in alarms:
        if line["what"] == "rings":
            desk, since = None if line["because"] in UNHEARD else line["desk"], line.get("since")
            yield Ring(line["case"], desk, line["at"], since and datetime.fromisoformat(since).timestamp())


def outside(channel: Iterable[Line], spoken: Mapping[str, str]) -> Iterator[Ring]:
    """What people outside were told to phone: they are told a spoken number and each desk's own number."""
    for line in channel:
        number = SPOKEN.search(line["words"])
        if line["what"] == "message" and "phone now" in line["words"] and number and number[0] in spoken:
            for kind in DIALLED.findall(line["words"]):
                yield Ring(spoken[number[0]], desk_id(CITY, kind), moment(line))


def moment(line: Line) -> float:
    return datetime.fromisoformat(line["at"]).timestamp()
