"""Calls out the desks: sends orders by their wires, opens call tasks, brings back their reports. Start reading here."""

import ssl
from functools import partial

from services.responder_adapter import desk_reports_api, open_callouts_api, tasks_api
from services.responder_adapter.callout import deadline, decide, is_open
from services.responder_adapter.recovery import recovery_command
from services.responder_adapter.sender import DueAttempts, Sender, address_of, desk_lanes, refuse_drills
from services.responder_adapter.standstill import Standstill
from services.responder_adapter.state import CallOut, evolve
from services.responder_adapter.wires import WireContext
from shared.contract.callouts import CallOutCancelAsked, CallOutEvent, CallOutInquired, CallOutRetried, CallOutTaken
from shared.contract.calls import AlarmClaimed, AlarmReleased, AlarmSettled, CallReceived
from shared.contract.city import Cities
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered
from shared.kernel.machine.keeper import Effect
from shared.kernel.machine.machine import Machine
from shared.kernel.process.service import Kit, Service
from shared.kernel.process.settings import surroundings


def build(kit: Kit) -> Service:
    due = DueAttempts()
    starting = (CallOutTaken, CallOutRetried, CallOutInquired, CallOutCancelAsked)
    starts: dict[type[Event], Effect] = dict.fromkeys(starting, due.note)
    callouts = kit.keep(machine(kit.cities), effects=starts, holds=due.holds)
    standstill = Standstill(lambda: kit.store.answered_at, kit.platform.ran)
    sender = Sender(callouts, kit.vault, kit.cities, kit.now, kit.settings.base_url, standstill)
    context = WireContext(surroundings(), ssl.create_default_context(), kit.platform.transport)
    refused: dict[str, desk_reports_api.RefusedReport] = {}
    return Service(
        name="responder_adapter",
        consumes={
            CallOutOrdered: callouts.learn,
            CallOutCancelRequested: callouts.learn,
            # Heard at once: what a person has phoned must never be overtaken by the order it answers.
            AlarmClaimed: callouts.learn,
            AlarmReleased: callouts.learn,
            AlarmSettled: callouts.learn,
            CallReceived: kit.vault.fetch_key,
        },
        speaks=CallOutEvent,
        routes=(
            desk_reports_api.routes(kit, callouts, context.environment, refused),
            tasks_api.routes(kit, callouts, refused),
            open_callouts_api.routes(kit, callouts),
        ),
        tasks=(
            standstill.run,
            partial(refuse_drills, sender, due),
            *(lane.run for lane in desk_lanes(sender, due, context)),
        ),
    )


def machine(cities: Cities) -> Machine[CallOut]:
    return Machine(
        name="callout",
        blank=CallOut(),
        decide=partial(decide, cities),
        evolve=evolve,
        deadline=partial(deadline, cities),
        listed=is_open,
        address=partial(address_of, cities),
        recover=recovery_command,
    )
