"""Decides which desks are called out for a person in danger, and when it is over. Start reading here."""

from functools import partial

from services.dispatch import api
from services.dispatch.incident import Incident, IncidentStatus, evolve
from services.dispatch.response import deadline, decide
from shared.contract.callouts import REPORTS, CallOutUnreachable
from shared.contract.calls import CallEnded, EscalationRequested, FollowUpPlanned, PlaceReported
from shared.contract.city import Cities
from shared.contract.incidents import IncidentEvent
from shared.contract.risk import RiskAssessed
from shared.kernel.machine.machine import Machine
from shared.kernel.process.service import Kit, Service


def machine(cities: Cities) -> Machine[Incident]:
    return Machine(
        name="incident",
        blank=Incident(),
        decide=partial(decide, cities),
        evolve=evolve,
        deadline=partial(deadline, cities),
        listed=lambda incident: incident.status is IncidentStatus.OPEN,
    )


def build(kit: Kit) -> Service:
    incidents = kit.keep(machine(kit.cities))
    return Service(
        name="dispatch",
        consumes=dict.fromkeys(
            (RiskAssessed, EscalationRequested, PlaceReported, CallEnded, FollowUpPlanned), incidents.learn
        ),
        follows=dict.fromkeys((CallOutUnreachable, *REPORTS.values()), incidents.learn),
        speaks=IncidentEvent,
        routes=(api.routes(kit, incidents),),
    )
