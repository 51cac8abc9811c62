"""Calls out the desks: sends orders by their wires, opens call tasks, brings back their reports. Start reading here."""

import os
from functools import partial

from services.responder_adapter import desk_reports_api, open_callouts_api, tasks_api
from services.responder_adapter.keeping import machine
from services.responder_adapter.sender import DueAttempts, Sender, desk_lanes, refuse_drills
from services.responder_adapter.standstill import Standstill
from services.responder_adapter.wires import echo
from shared.contract.callouts import CallOutCancelAsked, CallOutEvent, CallOutInquired, CallOutRetried, CallOutTaken
from shared.contract.calls import AlarmClaimed, AlarmReleased, AlarmSettled, CallReceived
from shared.contract.event import Event
from shared.contract.incidents import CallOutCancelRequested, CallOutOrdered
from shared.contract.terms import ECHO
from shared.kernel.machine.keeper import Effect
from shared.kernel.process.service import Kit, Service


def build(kit: Kit) -> Service:
    due = DueAttempts()
    starting = (CallOutTaken, CallOutRetried, CallOutInquired, CallOutCancelAsked)
    starts: dict[type[Event], Effect] = dict.fromkeys(starting, due.note)
    callouts = kit.keep(machine(kit.cities), effects=starts)
    standstill = Standstill(lambda: kit.store.answered_at)
    sender = Sender(callouts, kit.vault, kit.cities, kit.now, kit.settings.base_url, standstill, kit.platform.transport)
    desks = desk_lanes(sender, due, dict(os.environ))
    secrets = {lane.desk: lane.secret for lane in desks}
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
            desk_reports_api.routes(kit, callouts, secrets),
            tasks_api.routes(kit, callouts),
            open_callouts_api.routes(kit, callouts),
        ),
        tasks=(
            standstill.run,
            partial(refuse_drills, sender, due),
            partial(echo.run, sender, due.queues[ECHO]),
            *(lane.run for lane in desks),
        ),
    )
