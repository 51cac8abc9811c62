"""Takes calls to 12356, keeps what counsellors record, rings a human when rescue stays silent. Start reading here."""

from functools import partial

from services.hotline_intake import alarms_api, auditor_watch, call, seat_api
from services.hotline_intake.call import Call
from services.hotline_intake.notify import NoticeQueue, OutsideNotifier
from services.hotline_intake.storeless.acceptance import Acceptance
from services.hotline_intake.storeless.mirror import LedgerMirror
from shared.contract.callouts import REPORTS, CallOutUncertain
from shared.contract.calls import AlarmSettled, AlarmSounded, CallEvent, DeskConfirmed, WatchCleared
from shared.contract.city import Cities
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered, IncidentOpened, IncidentRaised
from shared.contract.risk import RiskAssessed
from shared.contract.terms import ACCEPTED, Rung
from shared.kernel.machine.keeper import Effect, IdempotencyKey
from shared.kernel.machine.machine import Machine, by_case
from shared.kernel.process.service import Kit, Service
from shared.kernel.process.settings import surroundings
from shared.notify.bell import Bell


def machine(cities: Cities) -> Machine[Call]:
    return Machine(
        "call", Call(), partial(call.decide, cities), call.evolve, partial(call.deadline, cities), call.is_alarming
    )


def build(kit: Kit) -> Service:
    bell = Bell(kit.cities, kit.platform.tell, surroundings())
    notices = NoticeQueue(bell)
    over: dict[type[Event], Effect] = dict.fromkeys((DeskConfirmed, AlarmSettled, WatchCleared), notices.over)
    calls = kit.keep(machine(kit.cities), effects={AlarmSounded: notices.ring, **over})
    watch, mirror = auditor_watch.AuditorWatch(kit, bell), LedgerMirror(calls, kit.cities)
    outside = OutsideNotifier(mirror.learn, notices)
    journal = kit.platform.journal(kit.settings.journal / (kit.settings.instance or kit.name), kit.settings.masters)
    acceptance = Acceptance(kit, calls, journal, mirror)

    async def follow(message: Event, cause: IdempotencyKey) -> None:
        mirror.note_commit(by_case(message), await calls.learn(message, cause))

    return Service(
        name="hotline_intake",
        consumes={},
        follows=dict.fromkeys(
            (
                RiskAssessed,
                IncidentOpened,
                IncidentRaised,
                CallOutOrdered,
                CallOutCancelRequested,
                *(REPORTS[rung] for rung in sorted(ACCEPTED | {Rung.CANCELLED})),
                CallOutUncertain,
            ),
            follow,
        ),
        speaks=CallEvent,
        routes=(
            seat_api.routes(kit, calls, acceptance),
            alarms_api.routes(kit.cities, acceptance, mirror),
            alarms_api.peer_routes(kit, calls, mirror),
            auditor_watch.routes(watch),
        ),
        tasks=(outside.run, watch.run, mirror.run, acceptance.run),
        first=(acceptance.replay_at_start,),
        alone=lambda: journal.is_open,
    )
