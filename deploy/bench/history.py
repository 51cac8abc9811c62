"""A history as the services would have said it: real machines decide and fold, desks and people are played here."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from importlib import import_module
from typing import Any
from uuid import UUID, uuid4, uuid5

from services.dispatch.supervision import CloseIncident
from services.hotline_intake.call import EndCall, OpenCall, PlanFollowUp, RecordBrief, RecordPlace, RecordScreening
from services.responder_adapter.callout import AttemptAnswered, ReportRung
from services.risk_assessment.assessment import Assess
from shared.contract.callouts import CallOutTaken
from shared.contract.calls import CallEnding, FollowUp, ScreeningRecorded
from shared.contract.event import Event, Message
from shared.contract.terms import Confidence, Place, Rung
from shared.kernel.machine.keeper import NAMES, Keeper
from shared.kernel.machine.machine import Address, Machine
from shared.kernel.machine.timers import Timers
from shared.kernel.machine.valkey import ValkeyStore
from shared.kernel.machine.vault import Vault
from shared.kernel.process.settings import Settings
from shared.kernel.rebuild.rebuild import KeylessSettings, RecordingKit

CITY = "140700"
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
SEALED = "s1." + "q" * 160
LADDER = (Rung.ACCEPTED, Rung.ASSIGNED, Rung.EN_ROUTE, Rung.ARRIVED, Rung.CONTACT, Rung.CLEARED)
SERVICES = ("hotline_intake", "risk_assessment", "dispatch", "responder_adapter")


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a history, with what its headers are made of; `cause` numbers the causes of the history."""

    service: str
    machine: str
    instance: str
    cause: int
    n: int
    version: int
    event: Event
    value: bytes


@dataclass
class History:
    """One person in danger, from the call to the closing, under a case id that copies replace by their own."""

    case: UUID = field(default_factory=uuid4)
    now: datetime = BEGUN
    lines: list[Line] = field(default_factory=list)
    states: dict[tuple[str, Address], tuple[Any, int]] = field(default_factory=dict)
    causes: int = 0

    def copies(self, number: int) -> Iterator[list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]]:
        """As many cases with this history: topic, key, value and headers of each record, in order."""
        mine = str(self.case)
        for _ in range(number):
            case = str(uuid4())
            causes = [str(uuid4()) for _ in range(self.causes)]
            yield [self._copied(line, mine, case, causes[line.cause]) for line in self.lines]

    def _copied(
        self, line: Line, mine: str, case: str, cause: str
    ) -> tuple[str, bytes, bytes, list[tuple[str, bytes]]]:
        said = uuid5(NAMES, f"{line.machine}|{line.instance.replace(mine, case)}|{cause}|{line.n}")
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(said),
            "ce_source": f"/jingyi/{line.service}",
            "ce_type": line.event.type_name(),
            "ce_time": line.event.at.isoformat(),
            "ce_subject": line.event.subject.replace(mine, case),
            "ce_partitionkey": case,
            "ce_city": line.event.city,
            "ce_sequence": f"{line.version:08d}{line.n:02d}",
            "content-type": "application/json",
            "traceparent": f"00-{case.replace('-', '')}-0000000000000001-01",
            "ce_cause": cause,
        }
        value = line.value.replace(mine.encode(), case.encode())
        return line.event.topic, case.encode(), value, [(name, text.encode()) for name, text in headers.items()]


class Cast:
    """Every machine of the product, and which of them hears what."""

    def __init__(self, settings: Settings) -> None:
        self._machines: dict[str, tuple[str, Machine[Any]]] = {}
        self._hearers: dict[type[Event], list[str]] = {}
        keyless, store = KeylessSettings(**dict(settings)), ValkeyStore(settings.redis_url, lambda *_: None)
        for name in SERVICES:
            kit = RecordingKit(name, keyless, store, Vault(keyless.masters, store), Timers(store, lambda: BEGUN, list))
            service = import_module(f"services.{name}.service").build(kit)
            self._machines |= {keeper.machine.name: (name, keeper.machine) for keeper in kit.keepers.values()}
            for event, handler in {**service.consumes, **service.follows}.items():
                if getattr(handler, "__func__", None) is Keeper.learn:
                    self._hearers.setdefault(event, []).append(handler.__self__.machine.name)

    def rescue(self, *, closes: bool) -> History:
        """Danger saved, both desks on the scene; closed, or left with the desks under way."""
        history = History()
        heading: dict[str, Any] = {"case": history.case, "city": CITY}
        place = Place(confidence=Confidence.READ_BACK, city=CITY, text=SEALED)
        for command in (
            OpenCall(**heading, counsellor="seat-1", caller=SEALED),
            RecordPlace(**heading, place=place),
            RecordBrief(**heading, brief=SEALED),
            RecordScreening(**heading, screening=uuid4(), answers=SEALED, danger=True, by="seat-1"),
        ):
            self.tell(history, "call", command)
        desks = [line.event for line in history.lines if isinstance(line.event, CallOutTaken)]
        for rung in LADDER if closes else LADDER[:3]:
            for taken in desks:
                self._report(history, taken, rung)
        if closes:
            self._close(history, heading)
        return history

    def _report(self, history: History, taken: CallOutTaken, rung: Rung) -> None:
        which: dict[str, Any] = {"case": history.case, "city": CITY, "desk": taken.desk, "n": taken.n}
        more: dict[str, Any] = {"event_no": "110-20260301-0001"} if rung is Rung.ACCEPTED else {}
        more |= {"code": "assisted"} if rung is Rung.CLEARED else {}
        by = "seat-2" if taken.wire == "phone" else None
        self.tell(history, "callout", ReportRung(**which, rung=rung, officer="041207", by=by, **more))

    def _close(self, history: History, heading: dict[str, Any]) -> None:
        follow_ups = tuple(FollowUp(due=(BEGUN + timedelta(days=days)).date()) for days in (1, 7, 30))
        self.tell(history, "call", EndCall(**heading, how=CallEnding.COMPLETED, by="seat-1"))
        self.tell(history, "call", PlanFollowUp(**heading, follow_ups=follow_ups, by="seat-1"))
        self.tell(history, "incident", CloseIncident(**heading, outcome="safe_at_home", by="supervisor-1"))

    def tell(self, history: History, machine: str, message: Message) -> None:
        """One machine learns it, then everybody who hears what it says, until nobody says anything more."""
        open_ones = deque([(machine, message)])
        while open_ones:
            name, heard = open_ones.popleft()
            for event in self._learn(history, name, heard):
                open_ones.extend((hearer, event) for hearer in self._hearers.get(type(event), ()))
                if isinstance(event, ScreeningRecorded):
                    answers = {"acute-criteria/1": {"in_progress": True}}
                    asked = event.model_dump(include={"case", "city", "screening", "situation"})
                    open_ones.append(("assessment", Assess(**asked, answers=answers)))
                if isinstance(event, CallOutTaken) and event.wire != "phone":
                    which = event.model_dump(include={"case", "city", "desk", "n", "token"})
                    open_ones.append(("callout", AttemptAnswered(**which, rung=Rung.DELIVERED)))

    def _learn(self, history: History, name: str, message: Message) -> tuple[Event, ...]:
        service, machine = self._machines[name]
        history.now += timedelta(seconds=1)
        key = (name, machine.address(message))
        state, version = history.states.get(key, (machine.blank, 0))
        events = machine.decide(state, message, history.now)
        if events:
            history.states[key] = (reduce(machine.evolve, events, state), version + 1)
            for n, event in enumerate(events):
                value = event.model_dump_json(exclude_none=True).encode()
                place = (key[1].instance, history.causes, n, version + 1)
                history.lines.append(Line(service, name, *place, event, value))
            history.causes += 1
        return events
